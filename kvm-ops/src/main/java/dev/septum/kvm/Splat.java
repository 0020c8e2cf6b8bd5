package dev.septum.kvm;

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

  private static String name(StackWalker.StackFrame frame) {
    String type = frame.getClassName();
    return "%s.%s+%d"
        .formatted(
            type.substring(type.lastIndexOf('.') + 1),
            frame.getMethodName(),
            frame.getLineNumber());
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
