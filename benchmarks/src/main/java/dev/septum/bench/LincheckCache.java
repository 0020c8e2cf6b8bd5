package dev.septum.bench;

import java.util.concurrent.locks.ReentrantLock;
import org.jetbrains.lincheck.datastructures.IntGen;
import org.jetbrains.lincheck.datastructures.Operation;
import org.jetbrains.lincheck.datastructures.Param;

/**
 * The same protocol as a small class, for Lincheck: it counts pages and has none. mmu_lock, which
 * all hold for read, is left out.
 */
@Param(name = "failing", gen = IntGen.class, conf = "0:4")
public abstract class LincheckCache {

  private static final int MIN_SIZE = 4;
  private static final int FAILED = Integer.MIN_VALUE;

  private final ReentrantLock lock = new ReentrantLock();
  private final boolean checksAgain;
  private volatile int count = MIN_SIZE;

  private LincheckCache(boolean checksAgain) {
    this.checksAgain = checksAgain;
  }

  /** As the code does. */
  public static final class Checked extends LincheckCache {
    /** A full cache. */
    public Checked() {
      super(true);
    }
  }

  /** The mutant: takes two pairs without counting again. */
  public static final class Unchecked extends LincheckCache {
    /** A full cache. */
    public Unchecked() {
      super(false);
    }
  }

  /** Splits one leaf; its {@code failing}th allocation fails, none if that is 0. */
  @Operation
  public void split(int failing) {
    int left = failing;
    while (left != FAILED && !(count >= MIN_SIZE && take())) {
      left = allocate(left);
    }
  }

  /** Tops up; its {@code failing}th allocation fails, none if that is 0. */
  @Operation
  public void topup(int failing) {
    allocate(failing);
  }

  /** How many allocations go well before the one that fails, or FAILED after it. */
  private int allocate(int failing) {
    int left = failing;
    while (count < MIN_SIZE) {
      left--;
      if (left == 0) {
        return FAILED;
      }
      lock.lock();
      try {
        int pages = count;
        count = pages + 1;
      } finally {
        lock.unlock();
      }
    }
    return left;
  }

  private boolean take() {
    lock.lock();
    try {
      if (checksAgain && count < MIN_SIZE) {
        return false;
      }
      for (int left = checksAgain ? 2 : 4; left > 0; left--) {
        int pages = count;
        if (pages == 0) {
          throw new IllegalStateException("a cache that was seen to have two pairs is empty");
        }
        count = pages - 1;
      }
      return true;
    } finally {
      lock.unlock();
    }
  }
}
