package dev.septum.lab.run;

import dev.septum.kvm.Errno;
import dev.septum.lab.scenario.ByteRange;
import dev.septum.lab.scenario.Kind;
import dev.septum.lab.scenario.Returns;
import org.jspecify.annotations.Nullable;

/**
 * What a step came to.
 *
 * @param code the name of its result, as {@link Returns} has it
 * @param detail what is to be said about it, or empty
 * @param exit the memory that KVM names in an exit to user space, or null
 */
public record StepResult(String code, String detail, @Nullable Exit exit) {

  /** Memory that is wanted as private or as shared memory. */
  public record Exit(ByteRange range, Kind kind) {}

  static final StepResult OK = new StepResult(Returns.OK, "");

  StepResult(String code, String detail) {
    this(code, detail, null);
  }

  /** An exit to user space for memory. */
  static StepResult exit(String code, long gpa, long bytes, boolean isPrivate) {
    ByteRange range = new ByteRange(gpa, gpa + bytes);
    Kind kind = isPrivate ? Kind.PRIVATE : Kind.SHARED;
    return new StepResult(code, "%s as %s".formatted(range, kind), new Exit(range, kind));
  }

  static StepResult of(Errno error) {
    return new StepResult(Returns.nameOf(error), "");
  }

  public boolean isOk() {
    return code.equals(Returns.OK);
  }
}
