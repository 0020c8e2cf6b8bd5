package dev.septum.lab.run;

import dev.septum.kvm.Errno;
import dev.septum.lab.scenario.Returns;

/**
 * What a step came to.
 *
 * @param code the name of its result, as {@link Returns} has it
 * @param detail what is to be said about it, or empty
 */
public record StepResult(String code, String detail) {

  static final StepResult OK = new StepResult(Returns.OK, "");

  static StepResult of(Errno error) {
    return new StepResult(Returns.nameOf(error), "");
  }

  public boolean isOk() {
    return code.equals(Returns.OK);
  }
}
