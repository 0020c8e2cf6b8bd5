package dev.septum.it;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.SharedWord;

/** Two steps of two threads, the second after the first. */
final class TwoSteps {

  private final Kernel kernel;
  private final SharedWord isFirstDone;

  TwoSteps(Kernel kernel) {
    this.kernel = kernel;
    this.isFirstDone = kernel.word(0);
  }

  void finishFirst() {
    isFirstDone.set(1);
  }

  void awaitFirst() {
    while (isFirstDone.get() == 0) {
      kernel.condResched();
    }
  }
}
