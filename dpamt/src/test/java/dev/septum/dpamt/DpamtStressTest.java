package dev.septum.dpamt;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.LongStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Random gets, puts and DEMOTEs on many threads: what was taken is back in the end. */
class DpamtStressTest extends DpamtFixture {

  private static final int THREADS = 4;
  private static final int STEPS = 4000;
  private static final int SHARED_RANGES = 2;

  /** Few, so that ranges often lose their last user. */
  private static final int MOST_HELD = 2;

  /** Some seeds for every run and one that is new each time; a failure names its seed. */
  static LongStream seeds() {
    return LongStream.concat(LongStream.range(0, 8), LongStream.of(System.nanoTime()));
  }

  @ParameterizedTest(name = "seed {0}")
  @MethodSource("seeds")
  void randomSteps_nothingFails_everythingIsBackInTheEnd(long seed) {
    State before = state();

    runThreads(seed);

    assertThat(state().census()).as("seed %d", seed).isEqualTo(before.census());
    assertThat(dpamt.refcounts()).as("seed %d", seed).isEmpty();
    assertThat(count(PamtCounter.ADD_FAILURES)).as("seed %d", seed).isZero();
  }

  @ParameterizedTest(name = "seed {0}")
  @MethodSource("seeds")
  void randomSteps_allocationsAndSeamcallsFail_onlyPairsThatTheModuleKeptAreOut(long seed) {
    State before = state();
    Random adds = new Random(seed + 1);
    Random removes = new Random(seed + 2);
    module.failAddsIf(() -> adds.nextInt(10) == 0);
    module.failRemovesIf(() -> removes.nextInt(100) == 0);
    pages.faults().failRandomly(0.05, seed);

    runThreads(seed);

    assertThat(dpamt.refcounts().values()).as("seed %d", seed).allMatch(count -> count == 1);
    assertThat((long) dpamt.refcounts().size())
        .as("seed %d", seed)
        .isEqualTo(count(PamtCounter.REMOVE_FAILURES));
    assertThat(pages.census().get(PageOwner.FREE))
        .as("seed %d", seed)
        .isEqualTo(
            before.census().getOrDefault(PageOwner.FREE, 0L) - 2L * dpamt.refcounts().size());
  }

  private void runThreads(long seed) {
    List<KernelThread> threads = new ArrayList<>();
    for (int i = 0; i < THREADS; i++) {
      Worker worker = new Worker(i, new Random(seed * THREADS + i));
      threads.add(kernel.spawn("worker " + i + " of seed " + seed, worker));
    }
    threads.forEach(KernelThread::join);
  }

  /** Gets and puts pages of ranges that all share; demotes in a range of its own. */
  private final class Worker implements Runnable {

    private final Random random;
    private final PamtCache cache = new PamtCache(kernel, pages);
    private final List<Long> got = new ArrayList<>();
    private final long guestPfn;

    Worker(int number, Random random) {
      this.random = random;
      this.guestPfn = (700 + number) * RANGE;
    }

    @Override
    public void run() {
      for (int step = 0; step < STEPS; step++) {
        int choice = random.nextInt(100);
        if (choice < 2) {
          demote();
        } else if (got.size() > MOST_HELD || choice < 40) {
          putOne();
        } else {
          get(choice % 2 == 0);
        }
      }
      while (!got.isEmpty()) {
        putOne();
      }
      cache.freeAll();
    }

    private void get(boolean fromCache) {
      long pfn = 600 * RANGE + random.nextInt(SHARED_RANGES * (int) RANGE);
      int cached = cache.count();
      Errno status;
      if (fromCache) {
        Errno topup = random.nextBoolean() ? cache.topup(4, Gfp.KERNEL) : Errno.OK;
        assertThat(topup).isIn(Errno.OK, Errno.ENOMEM);
        cached = cache.count();
        status = dpamt.get(pfn, cache);
      } else {
        status = dpamt.get(pfn);
      }
      if (status == Errno.OK) {
        got.add(pfn);
      } else {
        assertThat(cache.count()).as("cached after %s", status).isEqualTo(cached);
      }
    }

    private void putOne() {
      if (!got.isEmpty()) {
        int last = got.size() - 1;
        int chosen = random.nextInt(got.size());
        long pfn = got.get(chosen);
        got.set(chosen, got.get(last));
        got.remove(last);
        dpamt.put(pfn);
      }
    }

    private void demote() {
      PagePair pair = dpamt.refcount(guestPfn) == 0 ? cache.popPair() : null;
      if (pair == null) {
        return;
      }
      boolean succeeds = random.nextBoolean();
      long status =
          dpamt.demote(guestPfn, pair, () -> succeeds ? module.demote(guestPfn, pair) : 1);
      if (status == 0) {
        for (int i = 0; i < 512; i++) {
          got.add(guestPfn + i);
        }
      } else {
        cache.push(pair);
      }
    }
  }
}
