package dev.septum.lab.seamcall;

import java.util.Set;
import java.util.TreeSet;

/** The names that a line may use: registers, and what the lines before it set. */
final class Scope {

  private final Set<String> variables = new TreeSet<>();

  boolean has(String name) {
    return variables.contains(name) || Register.of(name).isPresent();
  }

  void define(String name) {
    variables.add(name);
  }

  /** What {@link #has} accepts, for messages. */
  String names() {
    return variables.isEmpty() ? "registers" : String.join(", ", variables) + " and registers";
  }
}
