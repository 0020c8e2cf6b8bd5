package dev.septum.kit;

import com.google.common.collect.ImmutableList;
import java.util.Comparator;

/** Chapters as {@code docs/spec.md} has them, and numbers within. */
enum RuleOrder implements Comparator<String> {
  /** The order. */
  INSTANCE;

  private static final ImmutableList<String> CHAPTERS =
      ImmutableList.of(
          "CALL", "CAP", "FAULT", "CACHE", "TABLE", "SPLIT", "FAIL", "RACE", "END", "KVM");

  @Override
  public int compare(String a, String b) {
    int chapters = Integer.compare(chapter(a), chapter(b));
    return chapters != 0 ? chapters : Integer.compare(number(a), number(b));
  }

  private static int chapter(String rule) {
    return CHAPTERS.indexOf(rule.substring(0, rule.indexOf('.')));
  }

  private static int number(String rule) {
    return Integer.parseInt(rule.substring(rule.indexOf('.') + 1));
  }
}
