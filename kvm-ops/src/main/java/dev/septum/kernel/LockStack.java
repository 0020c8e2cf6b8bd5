package dev.septum.kernel;

import java.util.List;
import java.util.stream.Collectors;

/** Where a lock was taken: the frames of callers, innermost first. */
final class LockStack {

  private static final int FRAMES = 12;
  private static final StackWalker WALKER = StackWalker.getInstance();

  private final List<StackWalker.StackFrame> frames;

  private LockStack(List<StackWalker.StackFrame> frames) {
    this.frames = frames;
  }

  /** The caller's stack, without the frames of locks and their checker. */
  static LockStack here() {
    return new LockStack(
        WALKER.walk(all -> all.filter(frame -> !isOfLocks(frame)).limit(FRAMES).toList()));
  }

  private static boolean isOfLocks(StackWalker.StackFrame frame) {
    String name = frame.getClassName();
    String type = name.substring(name.lastIndexOf('.') + 1);
    return name.startsWith("dev.septum.kernel.")
        && (type.startsWith("Lock")
            || type.startsWith("Host")
            || type.startsWith("Scheduled")
            || type.startsWith("Forwarding")
            || type.startsWith("Exploration")
            || type.startsWith("EmulatedThread")
            || type.startsWith("CarrierPool"))
        && !type.endsWith("Test");
  }

  @Override
  public String toString() {
    return frames.stream().map(frame -> "  " + line(frame)).collect(Collectors.joining("\n"));
  }

  private static String line(StackWalker.StackFrame frame) {
    String type = frame.getClassName();
    return "%s.%s+%d"
        .formatted(
            type.substring(type.lastIndexOf('.') + 1),
            frame.getMethodName(),
            frame.getLineNumber());
  }
}
