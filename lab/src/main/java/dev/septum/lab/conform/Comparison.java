package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import dev.septum.lab.conform.NormalisedOp.Kind;
import dev.septum.lab.conform.NormalisedOp.Part;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/** Compares what was recorded with what a replay did, up to the first difference. */
final class Comparison {

  /** So many events before the difference are shown. */
  private static final int CONTEXT = 3;

  private static final String NOTHING = "(nothing more)";

  private final Recording recording;
  private final Normaliser recorded;
  private final Normaliser emulated;

  private Comparison(Recording recording) {
    this.recording = recording;
    this.recorded = Normaliser.ofRecording(recording.header());
    this.emulated = recorded.ofReplay();
  }

  /** The first difference in the operations that do the same in every run. */
  static Optional<Difference> firstDifference(Recording recording, List<OpOutcome> outcomes) {
    return new Comparison(recording).firstDifference(outcomes);
  }

  private Optional<Difference> firstDifference(List<OpOutcome> outcomes) {
    for (RecordedOp op : recording.ops().subList(0, recording.firstConcurrentOp())) {
      if (op.index() == outcomes.size()) {
        return Optional.of(difference(op, "operations", op.toString(), NOTHING));
      }
      NormalisedOp left = recorded.next(op, op.outcome());
      NormalisedOp right = emulated.next(op, outcomes.get(op.index()));
      for (int i = 0; i < left.parts().size(); i++) {
        Optional<Difference> found = compare(op, left.parts().get(i), right.parts().get(i));
        if (found.isPresent()) {
          return found;
        }
      }
    }
    return Optional.empty();
  }

  private Optional<Difference> compare(RecordedOp op, Part left, Part right) {
    int lines = Math.max(left.lines().size(), right.lines().size());
    for (int i = 0; i < lines; i++) {
      String recordedLine = i < left.lines().size() ? left.lines().get(i) : NOTHING;
      String emulatedLine = i < right.lines().size() ? right.lines().get(i) : NOTHING;
      if (!recordedLine.equals(emulatedLine)) {
        return Optional.of(
            new Difference(
                op.index(),
                op.name(),
                "%s %d".formatted(left.kind().lineName(), i + 1),
                recordedLine,
                emulatedLine,
                left.kind() == Kind.EVENTS ? traceLine(op, i) : OptionalInt.empty(),
                left.lines().subList(Math.max(0, i - CONTEXT), i)));
      }
    }
    return Optional.empty();
  }

  private OptionalInt traceLine(RecordedOp op, int event) {
    return op.lines().stream()
        .filter(line -> recorded.compares(line.toEvent()))
        .skip(event)
        .mapToInt(TraceLine::lineNumber)
        .findFirst();
  }

  private static Difference difference(
      RecordedOp op, String what, String recorded, String emulated) {
    return new Difference(
        op.index(), op.name(), what, recorded, emulated, OptionalInt.empty(), ImmutableList.of());
  }
}
