package dev.septum.it;

import static dev.septum.it.TdScenario.GFN;
import static dev.septum.it.TdScenario.fault;
import static dev.septum.it.TdScenario.leafs2M;
import static dev.septum.it.TdScenario.leafs4K;
import static dev.septum.it.TdScenario.pfnOf;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.mmu.FaultOutcome;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.RetPf;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * A fault that meets an invalidation ({@code mmu_invalidate_seq}): what it looked up before must
 * not be mapped after, and while the invalidation lasts nothing in its range is.
 */
@EachDesign
final class StaleFaultTest {

  /** Takes a part of a leaf away. */
  enum Way {
    ATTRIBUTES {
      @Override
      Errno take(Vmm vmm, long start, long end) {
        return TdScenario.setAttributes(vmm, start, end, false);
      }
    },
    PUNCH_HOLE {
      @Override
      Errno take(Vmm vmm, long start, long end) {
        return vmm.files().get(0).punchHole(start, end);
      }
    },
    CONVERSION {
      @Override
      Errno take(Vmm vmm, long start, long end) {
        return vmm.files().get(0).convertToShared(start, end).error();
      }
    },
    BOTH {
      @Override
      Errno take(Vmm vmm, long start, long end) {
        return TdScenario.share(vmm, start, end);
      }
    };

    abstract Errno take(Vmm vmm, long start, long end);

    /** What a fault of the page is told when it comes again. */
    boolean isSharedAfter() {
      return this != PUNCH_HOLE;
    }
  }

  @RegisterExtension final TdScenario host;

  StaleFaultTest(TdxDesign design) {
    host = TdScenario.packed(design);
  }

  private static void assertTaken(Way way, Vmm vmm, long start, long end) {
    assertThat(way.take(vmm, start, end)).isEqualTo(Errno.OK);
  }

  /** The fault has its page and is about to take mmu_lock when the page is taken away. */
  @ParameterizedTest(name = "{0}")
  @EnumSource(Way.class)
  void aPageLookedUpBefore_isNotMappedAfter(Way way) {
    Vmm vmm = host.bootWithLeafs(1);
    long gfn = 0x805;
    long[] looked = new long[1];
    host.kernel()
        .otherThreadBefore(
            LockClass.MMU_LOCK,
            1,
            () -> {
              looked[0] = pfnOf(vmm, gfn);
              assertTaken(way, vmm, 0x800, 0xa00);
            });
    long augs = host.calls(SeamcallLeaf.TDH_MEM_PAGE_AUG);

    assertThat(fault(vmm, gfn).result()).isEqualTo(RetPf.RETRY);

    assertThat(looked[0]).isNotEqualTo(PageAllocator.NO_PAGE);
    assertThat(host.calls(SeamcallLeaf.TDH_MEM_PAGE_AUG)).isEqualTo(augs);
    assertThat(leafs2M(vmm)).containsExactly(GFN);
    assertThat(TdScenario.count(vmm, MmuCounter.FAULT_RETRIES)).isEqualTo(1);
    if (way == Way.PUNCH_HOLE || way == Way.BOTH) {
      assertThat(host.pages().ownerOf(looked[0])).isEqualTo(PageOwner.FREE);
    }
    assertSecondTime(way, fault(vmm, gfn));
    assertThat(leafs2M(vmm)).isEqualTo(way.isSharedAfter() ? List.of(GFN) : List.of(GFN, 0x800L));
  }

  private static void assertSecondTime(Way way, FaultOutcome outcome) {
    if (way.isSharedAfter()) {
      assertThat(outcome.error()).isEqualTo(Errno.EFAULT);
      assertThat(outcome.memoryFault()).isNotNull();
    } else {
      assertThat(outcome.result()).isEqualTo(RetPf.FIXED);
    }
  }

  /** An invalidation of anything else that has ended makes it look the page up again, too. */
  @Test
  void anInvalidationElsewhere_makesTheFaultRetryOnce() {
    Vmm vmm = host.bootWithLeafs(1);
    host.kernel()
        .otherThreadBefore(
            LockClass.MMU_LOCK, 1, () -> assertTaken(Way.BOTH, vmm, GFN + 16, GFN + 32));
    assertThat(fault(vmm, 0x800).result()).isEqualTo(RetPf.RETRY);
    assertThat(fault(vmm, 0x800).result()).isEqualTo(RetPf.FIXED);
    assertThat(leafs2M(vmm)).containsExactly(0x800L);
  }

  /**
   * The split has dropped mmu_lock in the middle of the invalidation: first for the table, then for
   * its cache.
   */
  @ParameterizedTest(name = "{0}")
  @EnumSource(names = {"ATTRIBUTES", "PUNCH_HOLE", "CONVERSION"})
  void whileTheSplitHasDroppedTheLock_faultsInTheRangeRetry(Way way) {
    Vmm vmm = host.bootWithLeafs(2);
    // A file takes the lock for each of its steps: to begin, to split, to zap, to end.
    int lock = way == Way.ATTRIBUTES ? 2 : 3;
    List<RetPf> seen = new ArrayList<>();
    host.kernel()
        .otherThreadBefore(
            LockClass.MMU_LOCK,
            lock,
            () -> {
              seen.add(fault(vmm, GFN + 512 + 16).result());
              seen.add(fault(vmm, GFN + 16).result());
              seen.add(fault(vmm, 0x800).result());
            });

    assertTaken(way, vmm, GFN + 16, GFN + 512 + 32);

    assertThat(seen).containsExactly(RetPf.RETRY, RetPf.RETRY, RetPf.FIXED);
    assertThat(leafs2M(vmm)).containsExactly(0x800L);
    assertThat(leafs4K(vmm, GFN, GFN + 1024)).isEqualTo(16 + 480);
  }

  /** A failed change has ended its invalidation (not so with D4), so faults go on. */
  @Test
  void afterAHoleThatFailed_faultsGoOn() {
    Vmm vmm = host.bootWithLeafs(1);
    host.pages().faults().failNext(PageOwner.MMU_PAGE_TABLE.tag(), 1);
    assertThat(Way.PUNCH_HOLE.take(vmm, GFN + 16, GFN + 32)).isEqualTo(host.seen(Errno.ENOMEM));
    assertThat(fault(vmm, GFN + 20).result()).isEqualTo(RetPf.SPURIOUS);
    assertThat(fault(vmm, 0x800).result()).isEqualTo(RetPf.FIXED);
  }

  /** The other way: memory that became private must not be left mapped through the direct root. */
  @Test
  void aSharedPageLookedUpBefore_isNotMappedAfterItBecamePrivate() {
    Vmm vmm = host.boot();
    TdScenario.run(vmm);
    assertTaken(Way.BOTH, vmm, GFN, GFN + 512);
    host.kernel()
        .otherThreadBefore(
            LockClass.MMU_LOCK,
            1,
            () ->
                assertThat(TdScenario.setAttributes(vmm, GFN, GFN + 512, true))
                    .isEqualTo(Errno.OK));
    assertThat(TdScenario.sharedFault(vmm, GFN + 5).result()).isEqualTo(RetPf.RETRY);
    assertThat(new MmuView(vmm.kvm().mmu()).directLeafs()).isEmpty();
    assertThat(TdScenario.sharedFault(vmm, GFN + 5).error()).isEqualTo(Errno.EFAULT);
  }
}
