package dev.septum.dpamt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.SpinLock;
import dev.septum.kvm.Errno;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PamtCacheTest extends DpamtFixture {

  @Test
  void pop_returnsPagesNewestFirst() {
    PamtCache cache = cacheOf(0);
    long a = newPage();
    long b = newPage();
    long c = newPage();
    cache.push(a);
    cache.push(b);
    cache.push(c);

    assertThat(List.of(cache.pop(), cache.pop(), cache.pop())).containsExactly(c, b, a);

    assertThat(cache.count()).isZero();
    for (long pfn : List.of(a, b, c)) {
      pages.freePage(pfn, PageOwner.PAMT_CACHE);
    }
  }

  @Test
  void pop_empty_isNoPage() {
    PamtCache cache = cacheOf(0);

    assertThat(cache.pop()).isEqualTo(PageAllocator.NO_PAGE);

    assertThat(cache.count()).isZero();
  }

  @Test
  void popPair_takesTheTwoOnTop() {
    PamtCache cache = cacheOf(1);
    long under = newPage();
    long top = newPage();
    cache.push(under);
    cache.push(top);

    PagePair pair = popPair(cache);

    assertThat(pair).isEqualTo(new PagePair(top, under));
    assertThat(cache.count()).isEqualTo(1);
    free(pair);
  }

  @Test
  void pushPair_undoesPopPair() {
    PamtCache cache = cacheOf(4);
    PagePair top = popPair(cache);
    PagePair under = popPair(cache);

    cache.push(under);
    cache.push(top);

    assertThat(popPair(cache)).isEqualTo(top);
    assertThat(popPair(cache)).isEqualTo(under);
    cache.push(under);
    cache.push(top);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1})
  void popPair_fewerThanTwoPages_takesNone(int cached) {
    PamtCache cache = cacheOf(cached);
    State before = state();

    assertThat(cache.popPair()).isNull();

    assertThat(state()).isEqualTo(before);
  }

  @Test
  void push_manyPages_keepsThemAllInOrder() {
    PamtCache cache = cacheOf(0);
    List<Long> pushed = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      long pfn = newPage();
      cache.push(pfn);
      pushed.add(0, pfn);
    }

    List<Long> popped = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      popped.add(cache.pop());
    }

    assertThat(popped).isEqualTo(pushed);
    pushed.forEach(pfn -> pages.freePage(pfn, PageOwner.PAMT_CACHE));
  }

  @Test
  void push_pageOfAnotherOwner_isTheCallersMistake() {
    PamtCache cache = cacheOf(1);
    long pfn = pages.allocPage(PageOwner.SEPT_PAGE, Gfp.KERNEL);

    assertThatIllegalStateException()
        .isThrownBy(() -> cache.push(pfn))
        .withMessage("pfn 0x%x in a PAMT cache belongs to sept_page".formatted(pfn));

    assertThat(cache.count()).isEqualTo(1);
    pages.freePage(pfn, PageOwner.SEPT_PAGE);
  }

  @Test
  void topup_allocatesWhatIsMissingOnly() {
    PamtCache cache = cacheOf(3);
    long asked = pages.faults().callsAt("pamt_cache");

    assertThat(cache.topup(4, Gfp.KERNEL_ACCOUNT)).isEqualTo(Errno.OK);
    assertThat(cache.topup(2, Gfp.KERNEL_ACCOUNT)).isEqualTo(Errno.OK);

    assertThat(cache.count()).isEqualTo(4);
    assertThat(pages.faults().callsAt("pamt_cache")).isEqualTo(asked + 1);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4})
  void topup_allocationFails_isEnomemAndKeepsWhatWasQueued(int failing) {
    PamtCache cache = cacheOf(0);
    pages.faults().failNext("pamt_cache", failing);

    assertThat(cache.topup(4, Gfp.KERNEL)).isEqualTo(Errno.ENOMEM);
    assertThat(cache.count()).isEqualTo(failing - 1);
    assertThat(pages.census()).containsEntry(PageOwner.PAMT_CACHE, failing - 1L);

    assertThat(cache.topup(4, Gfp.KERNEL)).isEqualTo(Errno.OK);
    assertThat(cache.count()).isEqualTo(4);
  }

  @Test
  void topup_negative_isTheCallersMistake() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> cacheOf(-1))
        .withMessage("a cache cannot hold -1 pages");
  }

  @Test
  void topup_maySleep_isAViolationUnderASpinningLock() {
    PamtCache cache = cacheOf(0);
    SpinLock lock = kernel.spinLock(LockClass.PREALLOC_SPLIT_CACHE_LOCK);
    lock.lock();

    assertThatIllegalStateException()
        .isThrownBy(() -> cache.topup(1, Gfp.KERNEL))
        .withMessageContaining("allocating a page for pamt_cache");
    assertThat(cache.topup(1, Gfp.ATOMIC)).isEqualTo(Errno.OK);

    lock.unlock();
    assertThat(cache.count()).isEqualTo(1);
  }

  @Test
  void freeAll_givesEveryPageBack() {
    State before = state();
    PamtCache cache = cacheOf(7);

    cache.freeAll();
    cache.freeAll();

    assertThat(cache.count()).isZero();
    assertThat(state().census()).isEqualTo(before.census());
  }

  @Test
  void count_whileAnotherThreadHoldsTheCachesLock_isReadAllTheSame() {
    PamtCache cache = cacheOf(0);
    SpinLock lock = kernel.spinLock(LockClass.PREALLOC_SPLIT_CACHE_LOCK);
    Gate pushed = new Gate();
    Gate popped = new Gate();
    KernelThread owner =
        kernel.spawn(
            "owner",
            () -> {
              lock.lock();
              pages.faults().failNext("pamt_cache", 4);
              assertThat(cache.topup(4, Gfp.ATOMIC)).isEqualTo(Errno.ENOMEM);
              pushed.pass();
              pages.freePage(cache.pop(), PageOwner.PAMT_CACHE);
              popped.pass();
              lock.unlock();
            });

    pushed.awaitArrival();
    assertThat(cache.count()).isEqualTo(3);
    pushed.open();
    popped.awaitArrival();
    assertThat(cache.count()).isEqualTo(2);
    popped.open();

    owner.join();
    assertThat(cache.count()).isEqualTo(2);
  }

  private long newPage() {
    return pages.allocPage(PageOwner.PAMT_CACHE, Gfp.KERNEL);
  }
}
