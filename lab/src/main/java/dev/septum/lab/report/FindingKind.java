package dev.septum.lab.report;

import java.util.regex.Pattern;

/** What findings have in common that differ in their numbers only. */
public final class FindingKind {

  private static final Pattern NUMBER = Pattern.compile("0x\\p{XDigit}+|\\d+");

  private FindingKind() {}

  /** A sentence with # for each of its numbers. */
  public static String of(String sentence) {
    return NUMBER.matcher(sentence).replaceAll("#");
  }
}
