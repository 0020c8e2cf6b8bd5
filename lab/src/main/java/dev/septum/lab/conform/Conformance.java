package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import dev.septum.lab.Progress;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Replays recordings and compares. */
public final class Conformance {

  private final Replayer replayer;
  private final int races;
  private final @Nullable Path traces;

  /**
   * A comparison with what {@code replayer} does.
   *
   * @param races how often a recording with a race is replayed
   * @param traces where both sides' texts are written; null for nowhere
   */
  public Conformance(Replayer replayer, int races, @Nullable Path traces) {
    this.replayer = replayer;
    this.races = races;
    this.traces = traces;
  }

  /**
   * Compares a recording, up to the first difference.
   *
   * @throws RecordingException if the recording cannot be replayed
   * @throws IOException if the texts cannot be written
   */
  public ConformResult check(Recording recording, Progress progress) throws IOException {
    if (!recording.isRace()) {
      return result(recording, 0, replay(recording, "only run", progress));
    }
    Findings findings =
        new Findings(Optional.empty(), violations(recording, "recorded", recording.outcomes()));
    int run = 0;
    while (findings.isNone() && run < races) {
      run++;
      findings = replay(recording, "run %d of %d".formatted(run, races), progress);
    }
    return result(recording, run, findings);
  }

  /** What one replay shows. */
  private record Findings(Optional<Difference> difference, ImmutableList<String> violations) {
    boolean isNone() {
      return difference.isEmpty() && violations.isEmpty();
    }
  }

  private Findings replay(Recording recording, String run, Progress progress) throws IOException {
    progress.phase("%s, %s".formatted(recording.name(), run), recording.eventCount());
    List<OpOutcome> outcomes;
    try {
      outcomes = replayer.replay(recording, progress);
    } catch (RuntimeException e) {
      // What the emulator throws is a broken invariant of its own: something was found.
      return new Findings(Optional.empty(), ImmutableList.of("the emulator stopped: " + e));
    }
    if (outcomes.size() != recording.opCount()) {
      throw new IllegalStateException(
          "%d outcomes for %d operations".formatted(outcomes.size(), recording.opCount()));
    }
    if (traces != null) {
      NormalisedTrace.write(traces, recording, outcomes);
    }
    return new Findings(
        Comparison.firstDifference(recording, outcomes), violations(recording, run, outcomes));
  }

  private static ImmutableList<String> violations(
      Recording recording, String whose, List<OpOutcome> outcomes) throws RecordingException {
    return recording.isRace()
        ? RaceCheck.violations(recording, recording.firstConcurrentOp(), outcomes).stream()
            .map(text -> whose + ": " + text)
            .collect(ImmutableList.toImmutableList())
        : ImmutableList.of();
  }

  private static ConformResult result(Recording recording, int runs, Findings findings) {
    return new ConformResult(
        recording.name(),
        recording.opCount(),
        recording.eventCount(),
        runs,
        findings.difference(),
        findings.violations());
  }
}
