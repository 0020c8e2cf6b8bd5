package dev.septum.lab.bootlog;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;

/**
 * What befalls a log on its way: lines cut, swapped, doubled, shortened, or with a character wrong.
 *
 * @param garbage the characters that may stand in place of another
 * @param longestCut how many lines may go at once
 */
public record LogDamage(String garbage, int longestCut) {

  /** The text of a log that suffered up to four times. */
  public String of(List<String> original, Random random) {
    List<String> lines = new ArrayList<>(original);
    for (int damage = random.nextInt(4); damage >= 0 && !lines.isEmpty(); damage--) {
      int at = random.nextInt(lines.size());
      String line = lines.get(at);
      switch (random.nextInt(5)) {
        case 0 ->
            lines.subList(at, Math.min(lines.size(), at + 1 + random.nextInt(longestCut))).clear();
        case 1 -> Collections.swap(lines, at, random.nextInt(lines.size()));
        case 2 -> lines.add(at, lines.get(random.nextInt(lines.size())));
        case 3 -> lines.set(at, line.substring(0, random.nextInt(line.length() + 1)));
        default -> lines.set(at, garbled(line, random));
      }
    }
    return String.join("\n", lines);
  }

  private String garbled(String line, Random random) {
    if (line.isEmpty()) {
      return line;
    }
    int at = random.nextInt(line.length());
    char wrong = garbage.charAt(random.nextInt(garbage.length()));
    return line.substring(0, at) + wrong + line.substring(at + 1);
  }
}
