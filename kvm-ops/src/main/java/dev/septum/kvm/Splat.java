package dev.septum.kvm;

import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;

/** A broken invariant as the kernel reports it: what was wrong, where, and how one got there. */
public record Splat(int vmId, String expression, String where, String callTrace) {

  private static final int FRAMES = 12;

  static Splat here(int vmId, String expression) {
    StackWalker walker = StackWalker.getInstance();
    String where =
        walker.walk(frames -> frames.skip(2).findFirst().map(Splat::name).orElse("unknown"));
    String trace =
        walker.walk(
            frames ->
                frames
                    .skip(2)
                    .limit(FRAMES)
                    .map(f -> "  " + name(f))
                    .collect(Collectors.joining("\n")));
    return new Splat(vmId, expression, where, trace);
  }

  /** What somebody threw, where it was thrown. */
  static Splat of(int vmId, String expression, Throwable cause) {
    List<String> frames =
        Arrays.stream(cause.getStackTrace())
            .map(f -> name(f.getClassName(), f.getMethodName(), f.getLineNumber()))
            .limit(FRAMES)
            .toList();
    String where = frames.isEmpty() ? "unknown" : frames.get(0);
    return new Splat(
        vmId,
        expression,
        where,
        frames.stream().map(frame -> "  " + frame).collect(Collectors.joining("\n")));
  }

  private static String name(StackWalker.StackFrame frame) {
    return name(frame.getClassName(), frame.getMethodName(), frame.getLineNumber());
  }

  private static String name(String type, String method, int line) {
    return "%s.%s+%d".formatted(type.substring(type.lastIndexOf('.') + 1), method, line);
  }

  @Override
  public String toString() {
    return """
        ------------[ cut here ]------------
        WARNING: KVM_BUG_ON(%s) at %s, VM %d
        Call Trace:
         <TASK>
        %s
         </TASK>
        ---[ end trace ]---"""
        .formatted(expression, where, vmId, callTrace);
  }
}
