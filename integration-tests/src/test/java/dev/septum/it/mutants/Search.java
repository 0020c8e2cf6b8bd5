package dev.septum.it.mutants;

/**
 * How schedules are chosen, in a form that crosses a class loader.
 *
 * @param strategy the method of an exploration
 * @param most the most schedules
 */
record Search(String strategy, long most) {

  static Search random(long most) {
    return new Search("random", most);
  }

  static Search pct(long most) {
    return new Search("pct", most);
  }

  static Search exhaustive(long most) {
    return new Search("exhaustive", most);
  }

  /** Threads are made to wait once. */
  static Search onePreemption(long most) {
    return new Search("one preemption", most);
  }

  /** Threads take turns: where nothing must be found, not even of a mutant. */
  static Search noPreemption(long most) {
    return new Search("no preemption", most);
  }

  @Override
  public String toString() {
    return strategy + ", " + most + " schedules";
  }
}
