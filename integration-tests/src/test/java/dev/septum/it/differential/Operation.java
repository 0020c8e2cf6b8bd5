package dev.septum.it.differential;

import dev.septum.kvm.GfnRange;
import java.util.function.Function;

/**
 * Something that a guest or a VMM does.
 *
 * @param text how reports name it
 * @param touched whatever it may change
 * @param needsUnaccepted whether it is left out where the guest has accepted memory already
 * @param effect does it and says what became of it
 */
record Operation(
    String text, GfnRange touched, boolean needsUnaccepted, Function<Side, String> effect) {

  /** The same, left out where the guest has accepted memory already. */
  Operation ofUnaccepted() {
    return new Operation(text, touched, true, effect);
  }

  @Override
  public String toString() {
    return text;
  }
}
