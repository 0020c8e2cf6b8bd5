package dev.septum.lab.seamcall;

import com.google.common.base.CharMatcher;
import com.google.common.base.Splitter;
import com.google.common.collect.ImmutableList;

/** One line of a script, without its comment, and where it is. */
record ScriptLine(String file, int number, String text) {

  static ScriptLine of(String file, int number, String raw) {
    int comment = raw.indexOf('#');
    return new ScriptLine(file, number, (comment < 0 ? raw : raw.substring(0, comment)).strip());
  }

  boolean isBlank() {
    return text.isEmpty();
  }

  ImmutableList<String> words() {
    return ImmutableList.copyOf(
        Splitter.on(CharMatcher.whitespace()).omitEmptyStrings().split(text));
  }

  /** The exception that refuses a word: what is wrong with it, and what would be accepted. */
  ScriptException error(String word, String problem, String accepted) {
    return new ScriptException(
        "%s:%d: \"%s\" %s; accepted: %s".formatted(file, number, word, problem, accepted));
  }
}
