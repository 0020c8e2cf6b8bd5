package dev.septum.kernel.schedule;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/**
 * Makes the schedule of a failing run simpler, as long as it fails for the same cause: it leaves
 * out a stretch in which one thread ran, lets one run on as far as it can, joins two of one thread,
 * or takes an injected failure back, and keeps what has fewer preemptions, or as many and fewer
 * stretches.
 */
final class Shrinker {

  /** Steps that one thread took in a row. */
  private record Stretch(int thread, int steps) {
    static final int TO_ITS_END = Integer.MAX_VALUE;
  }

  private final Function<Strategy, ScheduledRun> runner;
  private ScheduledRun best;

  Shrinker(Function<Strategy, ScheduledRun> runner, ScheduledRun failing) {
    this.runner = runner;
    this.best = failing;
  }

  /** The simplest failing run that no single change makes simpler. */
  ScheduledRun shrink() {
    boolean changed = true;
    while (changed) {
      changed = false;
      List<Stretch> stretches = stretches(best.trace());
      List<Integer> values = best.trace().values();
      for (int i = 0; i < stretches.size() && !changed; i++) {
        changed =
            isBetter(without(stretches, i), values)
                || isBetter(runningOn(stretches, i), values)
                || isBetter(joined(stretches, i, true), values)
                || isBetter(joined(stretches, i, false), values);
      }
      for (int i = 0; i < values.size() && !changed; i++) {
        List<Integer> other = new ArrayList<>(values);
        changed = other.set(i, 0) != 0 && isBetter(stretches, other);
      }
    }
    return best;
  }

  private boolean isBetter(List<Stretch> stretches, List<Integer> values) {
    ScheduledRun run = runner.apply(new Guided(stretches, values));
    Finding found = run.finding();
    Finding wanted = best.finding();
    boolean better =
        found != null && wanted != null && found.isLike(wanted) && weight(run) < weight(best);
    best = better ? run : best;
    return better;
  }

  /** Preemptions first, then stretches and failures, then choices. */
  private static long weight(ScheduledRun run) {
    Trace trace = run.trace();
    long failures = trace.values().stream().filter(value -> value != 0).count();
    return ((trace.preemptions() * 10_000L + stretches(trace).size() + failures) << 20)
        + trace.choices();
  }

  private static List<Stretch> without(List<Stretch> stretches, int i) {
    List<Stretch> left = new ArrayList<>(stretches);
    left.remove(i);
    return left;
  }

  private static List<Stretch> runningOn(List<Stretch> stretches, int i) {
    List<Stretch> left = new ArrayList<>(stretches);
    left.set(i, new Stretch(stretches.get(i).thread(), Stretch.TO_ITS_END));
    return left;
  }

  /** With a stretch and its thread's next one in one, at the place of the earlier or the later. */
  private static List<Stretch> joined(List<Stretch> stretches, int i, boolean earlier) {
    List<Stretch> left = new ArrayList<>(stretches);
    Stretch first = stretches.get(i);
    for (int j = i + 1; j < left.size(); j++) {
      if (left.get(j).thread() == first.thread()) {
        Stretch both = new Stretch(first.thread(), first.steps() + left.get(j).steps());
        left.set(earlier ? i : j, both);
        left.remove(earlier ? j : i);
        return left;
      }
    }
    return left;
  }

  private static List<Stretch> stretches(Trace trace) {
    List<Stretch> stretches = new ArrayList<>();
    int from = 0;
    for (int i = 1; i <= trace.steps(); i++) {
      if (i == trace.steps() || trace.thread(i) != trace.thread(from)) {
        stretches.add(new Stretch(trace.thread(from), i - from));
        from = i;
      }
    }
    return stretches;
  }

  /** Follows stretches as far as the program lets it, and prefers not to switch where it cannot. */
  private static final class Guided implements Strategy {

    private final List<Stretch> stretches;
    private final List<Integer> values;
    private boolean begun;
    private int at;
    private int taken;
    private int valuesUsed;

    Guided(List<Stretch> stretches, List<Integer> values) {
      this.stretches = stretches;
      this.values = values;
    }

    @Override
    public boolean next() {
      boolean first = !begun;
      begun = true;
      return first;
    }

    @Override
    public int chooseThread(ScheduledRun run, long enabled, int last) {
      while (at < stretches.size()) {
        Stretch stretch = stretches.get(at);
        if (taken < stretch.steps() && (enabled & (1L << stretch.thread())) != 0) {
          taken++;
          return stretch.thread();
        }
        at++;
        taken = 0;
      }
      return (enabled & (1L << last)) != 0 ? last : Long.numberOfTrailingZeros(enabled);
    }

    @Override
    public int chooseValue(ScheduledRun run, int alternatives) {
      int value = valuesUsed < values.size() ? values.get(valuesUsed) : 0;
      valuesUsed++;
      return Math.min(value, alternatives - 1);
    }
  }
}
