package dev.septum.kernel.schedule;

import java.util.List;

/** One schedule once more; a program that does not follow it is told where it left. */
final class Replay implements Strategy {

  private final List<Schedule.Choice> choices;
  private boolean begun;
  private int used;

  Replay(Schedule schedule) {
    choices = schedule.choices();
  }

  @Override
  public boolean next() {
    boolean first = !begun;
    begun = true;
    return first;
  }

  @Override
  public int chooseThread(ScheduledRun run, long enabled, int last) {
    if (Long.bitCount(enabled) == 1) {
      return Long.numberOfTrailingZeros(enabled);
    }
    Schedule.Choice choice = take(run, "a thread");
    int thread = choice.chosen();
    if (choice.isValue() || thread >= Long.SIZE || (enabled & (1L << thread)) == 0) {
      throw divergence(run, choice, "the threads that can go are " + set(run, enabled));
    }
    EmulatedThread chosen = run.threads().get(thread);
    Trace.Step step = new Trace.Step(chosen, chosen.kind, chosen.object, chosen.part);
    if (!choice.about().isEmpty() && !choice.about().equals(step.point())) {
      throw divergence(run, choice, "its step is now: " + step.point());
    }
    return thread;
  }

  @Override
  public int chooseValue(ScheduledRun run, int alternatives) {
    Schedule.Choice choice = take(run, "a value");
    if (!choice.isValue() || choice.chosen() >= alternatives) {
      throw divergence(run, choice, "there is a value below " + alternatives + " to choose");
    }
    return choice.chosen();
  }

  /** Whether all of the schedule was needed. */
  boolean isUsedUp() {
    return used == choices.size();
  }

  private Schedule.Choice take(ScheduledRun run, String what) {
    if (used == choices.size()) {
      throw run.fail(
          Finding.divergence(
              "the schedule ends after %d choices, and there is %s to choose"
                  .formatted(used, what)));
    }
    return choices.get(used++);
  }

  private Abort divergence(ScheduledRun run, Schedule.Choice choice, String instead) {
    return run.fail(
        Finding.divergence(
            "at choice %d of %d the schedule says \"%s\", but %s"
                .formatted(used, choices.size(), choice, instead)));
  }

  private static String set(ScheduledRun run, long enabled) {
    StringBuilder text = new StringBuilder();
    for (long rest = enabled; rest != 0; rest &= rest - 1) {
      text.append(text.length() == 0 ? "" : ", ");
      text.append(run.threads().get(Long.numberOfTrailingZeros(rest)));
    }
    return text.toString();
  }
}
