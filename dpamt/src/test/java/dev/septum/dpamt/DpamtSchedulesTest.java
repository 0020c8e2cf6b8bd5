package dev.septum.dpamt;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.Placement;
import dev.septum.kernel.schedule.Exploration;
import dev.septum.kernel.schedule.ExplorationResult;
import dev.septum.kernel.schedule.Finding;
import dev.septum.kernel.schedule.Program;
import dev.septum.kernel.schedule.ScheduledKernel;
import dev.septum.kvm.Errno;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Gets and puts of one range under every schedule. After each the whole state must agree: pages,
 * counts, pairs and counters.
 */
class DpamtSchedulesTest {

  private static final long PFN = 600 * DpamtRig.RANGE + 77;

  /** A host under a scheduled kernel. */
  private static final class Rig {
    final ScheduledKernel kernel;
    final PageAllocator pages;
    final FakeModule module;
    final Dpamt dpamt;
    final List<PamtCache> caches = new ArrayList<>();
    private final List<KernelThread> threads = new ArrayList<>();

    Rig(ScheduledKernel kernel, DpamtShape shape) {
      this.kernel = kernel;
      pages = new PageAllocator(kernel, 2L << 30, Placement.SEQUENTIAL, 0);
      module = new FakeModule(kernel);
      dpamt = Dpamt.enabled(kernel, pages, module, shape);
    }

    /** The range's count before the threads start. */
    Rig users(int count) {
      for (int i = 0; i < count; i++) {
        assertThat(dpamt.get(PFN)).isEqualTo(Errno.OK);
      }
      return this;
    }

    Rig thread(String name, Consumer<Rig> body) {
      threads.add(kernel.spawn(name, () -> body.accept(this)));
      return this;
    }

    void get(PamtCache cache) {
      assertThat(dpamt.get(PFN, cache)).isEqualTo(Errno.OK);
    }

    PamtCache cache() {
      PamtCache cache = new PamtCache(kernel, pages);
      assertThat(cache.topup(2, Gfp.KERNEL)).isEqualTo(Errno.OK);
      caches.add(cache);
      return cache;
    }

    void join(long users) {
      threads.forEach(KernelThread::join);
      assertThat(module.log().stream().filter("remove 600"::equals).count())
          .as("PAMT.REMOVEs")
          .isLessThanOrEqualTo(dpamt.counters().get(PamtCounter.PAIRS_ADDED));
      assertThat(dpamt.refcount(PFN)).as("users").isEqualTo(users);
      DpamtChecker.check(kernel, pages, dpamt, module, caches);
    }
  }

  private static Program getAndGet(DpamtShape shape) {
    return kernel -> {
      Rig rig = new Rig(kernel, shape);
      PamtCache a = rig.cache();
      PamtCache b = rig.cache();
      rig.thread("get a", r -> r.get(a)).thread("get b", r -> r.get(b)).join(2);
    };
  }

  private static Program getAndPut(DpamtShape shape) {
    return kernel -> {
      Rig rig = new Rig(kernel, shape).users(1);
      PamtCache cache = rig.cache();
      rig.thread("get", r -> r.get(cache)).thread("put", r -> r.dpamt.put(PFN)).join(1);
    };
  }

  private static Program putAndPut(DpamtShape shape) {
    return kernel ->
        new Rig(kernel, shape)
            .users(2)
            .thread("put a", r -> r.dpamt.put(PFN))
            .thread("put b", r -> r.dpamt.put(PFN))
            .join(0);
  }

  /** One user leaves, and another comes and leaves. */
  private static Program putAndGetPut(DpamtShape shape) {
    return kernel -> {
      Rig rig = new Rig(kernel, shape).users(1);
      PamtCache cache = rig.cache();
      rig.thread("put", r -> r.dpamt.put(PFN))
          .thread(
              "get and put",
              r -> {
                r.get(cache);
                r.dpamt.put(PFN);
              })
          .join(0);
    };
  }

  private static Program getAndFailingRemove(DpamtShape shape) {
    return kernel -> {
      Rig rig = new Rig(kernel, shape).users(1);
      PamtCache cache = rig.cache();
      rig.module.failRemovesIf(() -> kernel.mayFail("PAMT.REMOVE"));
      rig.thread("get", r -> r.get(cache)).thread("put", r -> r.dpamt.put(PFN));
      rig.threads.forEach(KernelThread::join);
      boolean stuck = !rig.dpamt.stuckRanges().isEmpty();
      rig.join(stuck ? 2 : 1);
    };
  }

  private static void assertSound(Program program) {
    ExplorationResult result = Exploration.of(program).mostFailures(1).exhaustive();
    assertThat(result.failures()).isEmpty();
    assertThat(result.isComplete()).isTrue();
  }

  @ParameterizedTest
  @EnumSource
  void getAndGet_addOnePair(DpamtShape shape) {
    assertSound(getAndGet(shape));
  }

  @Test
  void getAndPut_v6_areSoundInEveryOrder() {
    assertSound(getAndPut(DpamtShape.V6));
  }

  @ParameterizedTest
  @EnumSource
  void putAndPut_removeThePairOnce(DpamtShape shape) {
    assertSound(putAndPut(shape));
  }

  @Test
  void putAndGetPut_v6_removeThePairOnce() {
    assertSound(putAndGetPut(DpamtShape.V6));
  }

  @Test
  void getAndFailingRemove_v6_useThePairThatStayed() {
    assertSound(getAndFailingRemove(DpamtShape.V6));
  }

  @Test
  void putAndGetPut_v4_removeAPairTwice_andTheScheduleShowsItAgain() {
    Exploration exploration = Exploration.of(putAndGetPut(DpamtShape.V4));
    ExplorationResult result = exploration.exhaustive();
    assertThat(result.isComplete()).isTrue();
    assertThat(result.failures()).isNotEmpty();
    ExplorationResult.Failure twice = result.failures().get(0);
    assertThat(twice.finding().kind()).isEqualTo(Finding.Kind.FAILURE);
    assertThat(twice.finding().report()).contains("[PAMT.REMOVEs]");

    ExplorationResult again = exploration.replay(twice.schedule());
    assertThat(again.failures().get(0).finding()).isEqualTo(twice.finding());
  }
}
