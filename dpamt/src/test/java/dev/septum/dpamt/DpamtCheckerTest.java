package dev.septum.dpamt;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Each alarm of the checker that runs after every test goes off when it should. */
class DpamtCheckerTest {

  private static final long PFN = 512;

  private final Kernel kernel = Kernel.host();
  private final PageAllocator pages = new PageAllocator(kernel, 8L << 20, Placement.SEQUENTIAL, 0);
  private final FakeModule module = new FakeModule(kernel);
  private final Dpamt dpamt = Dpamt.enabled(kernel, pages, module);

  @Test
  void moduleForgetsAPair_isReported() {
    dpamt.get(PFN);
    module.pairs().clear();

    assertAlarm("ranges with a refcount are those with a pair");
  }

  @Test
  void moduleHasAPairThatNobodyCounted_isReported() {
    module.pairs().put(PFN, new PagePair(1, 2));

    assertAlarm("ranges with a refcount are those with a pair");
  }

  @Test
  void pageOfAPairFreed_isReported() {
    dpamt.get(PFN);
    pages.freePage(module.pairs().values().iterator().next().first(), PageOwner.PAMT_PAGE);

    assertAlarm("owners of installed pair");
  }

  @Test
  void pageInNoCache_isReported() {
    pages.allocPage(PageOwner.PAMT_CACHE, Gfp.KERNEL);

    assertAlarm("pages in caches");
  }

  @Test
  void pageOfNoPair_isReported() {
    pages.allocPage(PageOwner.PAMT_PAGE, Gfp.KERNEL);

    assertAlarm("pages that the module has");
  }

  @Test
  void getThatEndedNowhere_isReported() {
    dpamt.counters().increment(PamtCounter.SLOW_GETS);

    assertAlarm("ends of slow gets");
  }

  @Test
  void pairThatCameFromNowhere_isReported() {
    dpamt.counters().increment(PamtCounter.PAIRS_ADDED);

    assertAlarm("pairs that came less pairs that went");
  }

  @Test
  void lockHeldAtTheEnd_isReported() {
    kernel.spinLock(LockClass.PAMT_LOCK).lock();

    assertAlarm("lock held at the end of the test: pamt_lock");
  }

  private void assertAlarm(String message) {
    assertThatThrownBy(() -> DpamtChecker.check(kernel, pages, dpamt, module, List.of()))
        .hasMessageContaining(message);
  }
}
