package dev.septum.lab.bootlog;

import com.google.common.collect.ImmutableList;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Which lines of a log are facts.
 *
 * <p>A fact is found anywhere in a line, so that it does not matter what a logger puts in front. A
 * line that starts like a fact but does not go on like one is an error.
 */
public final class LineRules {

  /** Takes a line that is a fact. */
  public interface Fact {
    /** Takes {@code line}, in which {@code form} found the fact. */
    void add(LogLine line, Matcher form) throws BootLogException;
  }

  private record Rule(Pattern marker, Pattern form, Fact fact) {}

  private final List<Rule> rules = new ArrayList<>();

  /** Adds a rule: lines with {@code marker} must have {@code form}, and then are the fact. */
  public LineRules rule(String marker, String form, Fact fact) {
    rules.add(new Rule(Pattern.compile(marker), Pattern.compile(form), fact));
    return this;
  }

  /** Reads the lines of one boot; returns the last line if it breaks off in a fact. */
  public ImmutableList<LogLine> read(List<LogLine> lines) throws BootLogException {
    ImmutableList.Builder<LogLine> brokenOff = ImmutableList.builder();
    for (int i = 0; i < lines.size(); i++) {
      boolean isLast = i == lines.size() - 1;
      for (Rule rule : rules) {
        if (!read(lines.get(i), rule)) {
          if (!isLast) {
            throw lines.get(i).error("not the form that the kernel prints");
          }
          brokenOff.add(lines.get(i));
        }
      }
    }
    return brokenOff.build();
  }

  /** Applies one rule; false for a line that starts like its fact and goes on otherwise. */
  private static boolean read(LogLine line, Rule rule) throws BootLogException {
    Matcher marker = rule.marker.matcher(line.text());
    if (!marker.find()) {
      return true;
    }
    Matcher form = rule.form.matcher(line.text()).region(marker.start(), line.text().length());
    if (!form.find()) {
      return false;
    }
    rule.fact.add(line, form);
    return true;
  }
}
