package dev.septum.kernel.schedule;

import dev.septum.kernel.LockChecker;
import dev.septum.kernel.PointKind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * What is wrong with a run.
 *
 * @param cause what runs with the same fault have in common: no numbers, no thread that any other
 *     could stand in for
 * @param report all there is to say, for people
 */
public record Finding(Kind kind, String cause, String report) {

  private static final Pattern NUMBER = Pattern.compile("0x[0-9a-fA-F]+|\\d+");
  private static final Pattern OWN_FRAME =
      Pattern.compile(
          "java\\..*|jdk\\..*|dev\\.septum\\.kernel\\.schedule\\."
              + "(Scheduled|EmulatedThread|CarrierPool|Exploration|Finding|Part\\.|Search).*");
  private static final int LONGEST_CAUSE = 160;

  /** What became of a run. */
  public enum Kind {
    /** An exception ended a thread. */
    FAILURE,
    /** Threads wait for each other in a circle. */
    DEADLOCK,
    /** A thread waits for something that nobody is going to do. */
    LOST_WAKE_UP,
    /** The run did not end within its bound. */
    LIVELOCK,
    /** A schedule was to be replayed that the program does not follow. */
    DIVERGENCE
  }

  /** Whether both have the same cause. */
  public boolean isLike(Finding other) {
    return kind == other.kind && cause.equals(other.cause);
  }

  static Finding failure(EmulatedThread thread, Throwable failure) {
    Throwable root = failure;
    while (root.getCause() != null
        && root.getMessage() != null
        && root.getMessage().startsWith("thread ")) {
      root = root.getCause();
    }
    // One without a stack is no accident, but what a program found.
    String text =
        (root.getStackTrace().length == 0 ? "" : root.getClass().getSimpleName() + ": ")
            + root.getMessage();
    String oneLine = NUMBER.matcher(text).replaceAll("#").replaceAll("\\s+", " ").trim();
    String cause = oneLine.substring(0, Math.min(LONGEST_CAUSE, oneLine.length()));
    return new Finding(
        Kind.FAILURE,
        cause,
        "thread %s failed: %s%n%s%s"
            .formatted(thread, text, frames(root.getStackTrace()), lockReport(root)));
  }

  private static String lockReport(Throwable root) {
    return root instanceof LockChecker.LockViolation violation ? violation.report() : "";
  }

  static Finding divergence(String report) {
    return new Finding(Kind.DIVERGENCE, "the program does not follow the schedule", report);
  }

  /** No thread can go on. */
  static Finding stuck(ScheduledRun run) {
    List<EmulatedThread> blocked =
        run.threads().stream().filter(t -> !t.isEnded() && !t.isDaemon).toList();
    List<EmulatedThread> cycle = cycle(blocked);
    boolean deadlock = !cycle.isEmpty();
    List<EmulatedThread> shown = deadlock ? cycle : blocked;
    StringBuilder report =
        new StringBuilder(
            deadlock
                ? "deadlock, wait-for cycle:\n"
                : "nobody is left to wake these threads up:\n");
    TreeSet<String> objects = new TreeSet<>();
    for (EmulatedThread thread : shown) {
      objects.add(thread.object.type());
      report.append(waiting(thread));
    }
    for (EmulatedThread thread : blocked) {
      if (!shown.contains(thread)) {
        report.append("and behind it: ").append(waiting(thread));
      }
    }
    return new Finding(
        deadlock ? Kind.DEADLOCK : Kind.LOST_WAKE_UP,
        (deadlock ? "deadlock over " : "lost wake-up of who waits for ")
            + String.join(", ", objects),
        report.toString());
  }

  private static String waiting(EmulatedThread thread) {
    List<EmulatedThread> holders = thread.object.holders();
    String held =
        holders.isEmpty()
            ? ""
            : ", which is with "
                + holders.stream().map(Object::toString).collect(Collectors.joining(", "));
    return "%s waits to %s %s%s%n%s"
        .formatted(
            thread,
            thread.kind == PointKind.WAIT ? "see the" : thread.kind.word(),
            thread.object.name(thread.part),
            held,
            frames(thread.stack()));
  }

  /** The threads of a wait-for cycle in their order; empty if there is none. */
  private static List<EmulatedThread> cycle(List<EmulatedThread> blocked) {
    for (EmulatedThread start : blocked) {
      List<EmulatedThread> path = new ArrayList<>();
      if (leadsBack(start, start, path)) {
        return path;
      }
    }
    return List.of();
  }

  private static boolean leadsBack(
      EmulatedThread from, EmulatedThread start, List<EmulatedThread> path) {
    if (from.isEnded() || path.contains(from)) {
      return false;
    }
    path.add(from);
    for (EmulatedThread holder : from.object.holders()) {
      if (holder == start || leadsBack(holder, start, path)) {
        return true;
      }
    }
    path.remove(path.size() - 1);
    return false;
  }

  /** The run is too long. */
  static Finding livelock(ScheduledRun run) {
    List<Trace.Step> cycle = run.trace().cycle();
    StringBuilder report = new StringBuilder("no end after " + run.progress() + " steps; ");
    if (cycle.isEmpty()) {
      int steps = run.trace().steps();
      report.append("no cycle, the last steps are:\n");
      run.trace()
          .steps(Math.max(0, steps - 20), steps)
          .forEach(step -> report.append("  ").append(step).append('\n'));
      return new Finding(Kind.LIVELOCK, "livelock without a cycle", report.toString());
    }
    report.append("these repeat:\n");
    TreeSet<String> points = new TreeSet<>();
    for (Trace.Step step : cycle) {
      report.append("  ").append(step).append('\n');
      points.add(step.kind().word() + " " + step.object().type());
    }
    return new Finding(
        Kind.LIVELOCK, "livelock of " + String.join(", ", points), report.toString());
  }

  /** A stack without the frames of the scheduled runtime itself. */
  static String frames(StackTraceElement[] stack) {
    return Arrays.stream(stack)
        .filter(frame -> !OWN_FRAME.matcher(frame.getClassName() + ".").matches())
        .filter(frame -> frame.getLineNumber() > 0)
        .map(Finding::line)
        .collect(Collectors.joining());
  }

  private static String line(StackTraceElement frame) {
    return "    %s.%s(%s:%d)%n"
        .formatted(
            frame.getClassName(),
            frame.getMethodName(),
            frame.getFileName(),
            frame.getLineNumber());
  }

  @Override
  public String toString() {
    return kind + ": " + report;
  }
}
