package dev.septum.bench;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.SharedWord;
import dev.septum.kernel.SpinLock;
import dev.septum.kernel.schedule.Program;
import dev.septum.kernel.schedule.ScheduledKernel;
import java.util.ArrayList;
import java.util.List;

/**
 * The same protocol as a small program, step by step what {@link LincheckCache} and the
 * specification are: it counts pages and has none, and mmu_lock is left out.
 */
final class CountedCacheProgram implements Program {

  private static final int MIN_SIZE = 4;

  private final int splitters;
  private final int toppers;
  private final boolean checksAgain;

  CountedCacheProgram(int splitters, int toppers, boolean checksAgain) {
    this.splitters = splitters;
    this.toppers = toppers;
    this.checksAgain = checksAgain;
  }

  @Override
  public void run(ScheduledKernel kernel) {
    Cache cache = new Cache(kernel, checksAgain);
    List<KernelThread> threads = new ArrayList<>();
    for (int i = 0; i < splitters; i++) {
      threads.add(kernel.spawn("splitter" + i, cache::split));
    }
    for (int i = 0; i < toppers; i++) {
      threads.add(kernel.spawn("topper" + i, cache::topup));
    }
    threads.forEach(KernelThread::join);
  }

  private static final class Cache {
    private final ScheduledKernel kernel;
    private final boolean checksAgain;
    private final SharedWord count;
    private final SpinLock lock;

    Cache(ScheduledKernel kernel, boolean checksAgain) {
      this.kernel = kernel;
      this.checksAgain = checksAgain;
      count = kernel.word(MIN_SIZE);
      lock = kernel.spinLock(LockClass.PREALLOC_SPLIT_CACHE_LOCK);
    }

    void split() {
      while (!(count.get() >= MIN_SIZE && take())) {
        if (!topup()) {
          return;
        }
      }
    }

    boolean topup() {
      while (count.get() < MIN_SIZE) {
        if (kernel.mayFail("allocation")) {
          return false;
        }
        lock.lock();
        count.set(count.get() + 1);
        lock.unlock();
      }
      return true;
    }

    private boolean take() {
      lock.lock();
      try {
        if (checksAgain && count.get() < MIN_SIZE) {
          return false;
        }
        for (int left = checksAgain ? 2 : 4; left > 0; left--) {
          long pages = count.get();
          if (pages == 0) {
            throw new IllegalStateException("a cache that was seen to have two pairs is empty");
          }
          count.set(pages - 1);
        }
        return true;
      } finally {
        lock.unlock();
      }
    }
  }
}
