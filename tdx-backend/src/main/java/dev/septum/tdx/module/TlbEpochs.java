package dev.septum.tdx.module;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.SharedWord;

/**
 * TLB tracking of one TD: TD_EPOCH, and how many vCPUs are inside that entered in the current and
 * in the previous epoch.
 *
 * <p>All three are one word, since the module reads them in one access: the epoch in bits 63:32,
 * the count of odd epochs in 31:16, that of even ones in 15:0.
 */
final class TlbEpochs {

  private static final long ONE_EPOCH = 1L << 32;

  private final SharexLock lock;
  private final SharedWord word;
  private final SharedWord advances;
  private final SharedWord retired;

  TlbEpochs(Kernel kernel) {
    lock = new SharexLock(kernel);
    word = kernel.word(0).named("TD epoch");
    advances = kernel.word(0).named("epoch advances");
    retired = kernel.word(0).named("epoch retired");
  }

  /** EPOCH_LOCK. */
  SharexLock lock() {
    return lock;
  }

  /** MNG.INIT: the first epoch is 1. */
  void start() {
    word.set(ONE_EPOCH);
  }

  /** TD_EPOCH. */
  long current() {
    return word.get() >>> 32;
  }

  /** A vCPU enters: returns the epoch it counts for. Under EPOCH_LOCK, shared. */
  long enter() {
    for (; ; ) {
      long seen = word.get();
      long epoch = seen >>> 32;
      if (word.compareAndSet(seen, seen + oneVcpu(epoch))) {
        return epoch;
      }
    }
  }

  /** A vCPU that entered in {@code epoch} is out. */
  void leave(long epoch) {
    word.addAndGet(-oneVcpu(epoch));
  }

  /**
   * MEM.TRACK: starts the next epoch, unless vCPUs of the previous one are still inside. Under
   * EPOCH_LOCK, exclusive.
   */
  boolean tryAdvance() {
    for (; ; ) {
      long seen = word.get();
      if (running(seen, (seen >>> 32) - 1) != 0) {
        return false;
      }
      if (word.compareAndSet(seen, seen + ONE_EPOCH)) {
        advances.addAndGet(1);
        return true;
      }
    }
  }

  /** Whether no vCPU inside can hold a translation from before {@code blockingEpoch} ended. */
  boolean isTracked(long blockingEpoch) {
    long seen = word.get();
    long previous = (seen >>> 32) - 1;
    if (blockingEpoch < 0 || blockingEpoch > previous) {
      return false;
    }
    return blockingEpoch < previous || running(seen, previous) == 0;
  }

  /** Remembers that a mapping is gone that was blocked in {@code epoch} (for I18). */
  void retire(long epoch) {
    long seen = retired.get();
    while (seen < epoch && !retired.compareAndSet(seen, epoch)) {
      seen = retired.get();
    }
  }

  /** The last epoch in which something was blocked that is gone by now. */
  long retired() {
    return retired.get();
  }

  /** How many epochs were started by MEM.TRACK (for I19). */
  long advances() {
    return advances.get();
  }

  /** REFCOUNT of this epoch's parity. */
  int running(long epoch) {
    return running(word.get(), epoch);
  }

  /** The vCPUs inside, of both epochs. */
  int running() {
    long seen = word.get();
    return running(seen, 0) + running(seen, 1);
  }

  private static int running(long word, long epoch) {
    return (int) (word >>> (16 * (epoch & 1))) & 0xFFFF;
  }

  private static long oneVcpu(long epoch) {
    return 1L << (16 * (epoch & 1));
  }
}
