package dev.septum.lab.seamcall;

import dev.septum.tdx.module.SeamcallLeaf;
import java.io.Serial;

/** A SEAMCALL that a command makes by itself failed: the command stopped there. */
final class StepFailedException extends Exception {

  @Serial private static final long serialVersionUID = 1L;

  StepFailedException(SeamcallLeaf leaf, long status) {
    super("stopped at %s: %s".formatted(Symbols.nameOf(leaf), StatusText.of(status)));
  }

  StepFailedException(String message) {
    super(message);
  }
}
