package dev.septum.it.differential;

import dev.septum.kvm.GfnRange;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;

/**
 * The same random operations on a VM of the reference backend and on a TD: the status of each, and
 * everything that both have mapped, must be the same.
 *
 * <p>After each operation the 2M ranges that it touched are compared: the leafs of the mirror, of
 * the external page table and of the direct root, where each leads, and which frames are private.
 * After every {@link #EVERYTHING_EVERY} operations and in the end all ranges are, and the tables
 * and the splits so far too; and each host's own invariants are checked.
 */
final class DifferentialRun {

  private static final int EVERYTHING_EVERY = 250;
  private static final int LAST = 12;

  private final long seed;
  private final Side reference;
  private final Side tested;
  private final RandomOperations operations;
  private final Deque<String> last = new ArrayDeque<>();
  private int number;

  DifferentialRun(long seed, Side reference, Side tested) {
    this.seed = seed;
    this.reference = reference;
    this.tested = tested;
    this.operations = new RandomOperations(seed);
  }

  /** Does that many operations. */
  void run(int count) {
    for (int i = 0; i < count; i++) {
      step(operations.draw());
      if (number % EVERYTHING_EVERY == 0) {
        compareEverything();
      }
    }
    compareEverything();
  }

  private void step(Operation operation) {
    number++;
    if (operation.needsUnaccepted() && tested.hasAccepted(operation.touched())) {
      note("%d: %s: left out".formatted(number, operation));
      return;
    }
    String expected = operation.effect().apply(reference);
    String actual = operation.effect().apply(tested);
    note("%d: %s: %s".formatted(number, operation, expected));
    compare("status", expected, actual);
    compare(operation.touched());
  }

  private void note(String line) {
    last.add(line);
    if (last.size() > LAST) {
      last.remove();
    }
  }

  private void compareEverything() {
    compare(Side.ALL);
    compare("tables and splits", reference.tablesAndSplits(), tested.tablesAndSplits());
    for (Side side : List.of(reference, tested)) {
      List<String> violations = side.violations();
      if (!violations.isEmpty()) {
        throw disagreement("violated on the host of %s: %s".formatted(side.name(), violations));
      }
    }
  }

  private void compare(GfnRange range) {
    State expected = reference.state(range);
    State actual = tested.state(range);
    if (!expected.isSameAs(actual)) {
      long gfn = expected.firstDifference(actual);
      compare("gfn 0x%x".formatted(gfn), expected.at(gfn), actual.at(gfn));
    }
  }

  private void compare(String what, String expected, String actual) {
    if (!expected.equals(actual)) {
      throw disagreement(
          "%s%n  %s: %s%n  %s: %s"
              .formatted(what, reference.name(), expected, tested.name(), actual));
    }
  }

  private Disagreement disagreement(String text) {
    return new Disagreement(
        "seed %d, operation %d: %s%nlast operations:%n  %s"
            .formatted(seed, number, text, String.join(System.lineSeparator() + "  ", last)));
  }
}
