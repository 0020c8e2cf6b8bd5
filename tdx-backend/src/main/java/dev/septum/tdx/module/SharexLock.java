package dev.septum.tdx.module;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.SharedWord;

/** A plain sharex lock: bit 0 exclusive, readers counted above it. */
final class SharexLock implements TryLock {

  private static final long EXCLUSIVE = 1;
  private static final long ONE_READER = 2;

  private final SharedWord word;

  SharexLock(Kernel kernel) {
    word = kernel.word(0).named("sharex lock");
  }

  @Override
  public boolean tryLock(LockMode mode) {
    if (mode == LockMode.EXCLUSIVE) {
      return word.compareAndSet(0, EXCLUSIVE);
    }
    for (; ; ) {
      long seen = word.get();
      if ((seen & EXCLUSIVE) != 0) {
        return false;
      }
      if (word.compareAndSet(seen, seen + ONE_READER)) {
        return true;
      }
    }
  }

  @Override
  public void refuse() {
    // Nobody can see who did not get a plain lock.
  }

  @Override
  public void unlock(LockMode mode) {
    word.addAndGet(mode == LockMode.EXCLUSIVE ? -EXCLUSIVE : -ONE_READER);
  }

  boolean isHeld() {
    return word.get() != 0;
  }
}
