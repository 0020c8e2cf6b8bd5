package dev.septum.it;

import static dev.septum.it.TdScenario.count;
import static dev.septum.it.TdScenario.leafs2M;
import static dev.septum.it.TdScenario.leafs4K;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.Errno;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.GuestMemfd.Conversion;
import dev.septum.mmu.MemoryRegion;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.RetPf;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.vmm.Vmm;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * One guest_memfd in two TDs, at other gfns in each: a hole is punched for both or for none. The
 * first TD has file frames 0x200 to 0x600, the second 0x600 to 0x800; each has a slot for both.
 */
@EachDesign
final class SharedFileTest {

  /** Where the second TD has frame 0x400 of the file. */
  private static final long BASE = 0x2000;

  @RegisterExtension final TdScenario host;

  private final Vmm first;
  private final Vmm second;
  private final GuestMemfd file;

  SharedFileTest(TdxDesign design) {
    host = TdScenario.packed(design);
    first = host.bootWithLeafs(2);
    second = host.boot();
    file = first.files().get(0);
  }

  @BeforeEach
  void bindTheFileToTheSecond() {
    assertThat(
            second
                .kvm()
                .mmu()
                .memory()
                .setRegion(MemoryRegion.withGmem(2, BASE, 0x800, 0x7e00_0000_0000L, file, 0x400)))
        .isEqualTo(Errno.OK);
    assertThat(TdScenario.setAttributes(second, BASE, BASE + 0x800, true)).isEqualTo(Errno.OK);
    TdScenario.accept2M(second, BASE + 0x200, 1);
  }

  private void assertNothingIsGone() {
    assertThat(leafs2M(first)).contains(0x400L);
    assertThat(leafs2M(second)).containsExactly(BASE + 0x200);
    for (long frame = 0x200; frame < 0x800; frame += 0x10) {
      assertThat(file.pfnAt(frame)).isNotEqualTo(PageAllocator.NO_PAGE);
    }
  }

  @Test
  void s16_aHole_isCutInBothAtTheirOwnGfns() {
    assertThat(file.punchHole(0x210, 0x620)).isEqualTo(Errno.OK);

    assertThat(leafs2M(first)).isEmpty();
    assertThat(leafs4K(first, 0, 0x1000)).isEqualTo(0x10);
    assertThat(leafs4K(first, 0x200, 0x210)).isEqualTo(0x10);
    assertThat(leafs2M(second)).isEmpty();
    assertThat(leafs4K(second, 0, BASE + 0x800)).isEqualTo(0x1e0);
    assertThat(leafs4K(second, BASE + 0x220, BASE + 0x400)).isEqualTo(0x1e0);
    for (Vmm vmm : host.vmms()) {
      assertThat(vmm.kvm().mmu().splits().get(SplitCause.PUNCH_HOLE)).isEqualTo(1);
      assertThat(count(vmm, MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(1);
      assertThat(count(vmm, MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(1);
      assertThat(vmm.kvm().splitCacheCount()).isEqualTo(2);
    }
    assertThat(file.pfnAt(0x20f)).isNotEqualTo(PageAllocator.NO_PAGE);
    assertThat(file.pfnAt(0x210)).isEqualTo(PageAllocator.NO_PAGE);
    assertThat(file.pfnAt(0x61f)).isEqualTo(PageAllocator.NO_PAGE);
    assertThat(file.pfnAt(0x620)).isNotEqualTo(PageAllocator.NO_PAGE);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"kvm_mmu_page_header", "mmu_page_table", "external_page_table", "pamt_cache"})
  void s16_theFirstWithoutMemory_nothingChangesInEither(String place) {
    TdSnapshot before = host.snapshot();
    host.pages().faults().failNext(place, 1);

    assertThat(file.punchHole(0x210, 0x620)).isEqualTo(host.seen(Errno.ENOMEM));

    assertThat(before.diffTo(host.snapshot())).isEmpty();
    assertNothingIsGone();
    assertThat(file.punchHole(0x210, 0x620)).isEqualTo(Errno.OK);
  }

  /** The first stays split, with every page mapped, and what its split left in its cache. */
  @ParameterizedTest(name = "{0}: {2} pages in the cache of the second")
  @CsvSource({
    "kvm_mmu_page_header, 2, 0",
    "mmu_page_table, 2, 0",
    "external_page_table, 2, 0",
    "pamt_cache, 5, 0",
    "pamt_cache, 8, 3",
  })
  void s16_theSecondWithoutMemory_leavesTheFirstSplit_andNothingGone(
      String place, int nth, int cached) {
    host.pages().faults().failNext(place, nth);

    assertThat(file.punchHole(0x210, 0x620)).isEqualTo(host.seen(Errno.ENOMEM));

    assertThat(leafs2M(first)).containsExactly(0x400L);
    assertThat(leafs4K(first, 0x200, 0x400)).isEqualTo(512);
    assertThat(first.kvm().splitCacheCount()).isEqualTo(2);
    assertThat(count(first, MmuCounter.MIRROR_SPLITS)).isEqualTo(1);
    assertThat(count(second, MmuCounter.MIRROR_SPLITS)).isZero();
    assertThat(second.kvm().splitCacheCount()).isEqualTo(cached);
    for (Vmm vmm : host.vmms()) {
      assertThat(count(vmm, MmuCounter.SMALL_LEAFS_ZAPPED)).isZero();
      assertThat(count(vmm, MmuCounter.HUGE_LEAFS_ZAPPED)).isZero();
    }
    assertNothingIsGone();
    host.checkInvariants();
    assertThat(file.punchHole(0x210, 0x620)).isEqualTo(Errno.OK);
    assertThat(count(first, MmuCounter.MIRROR_SPLITS)).as("split before").isEqualTo(1);
  }

  @Test
  void s16_aConversion_isCutInBoth_andKeepsEveryPage() {
    assertThat(file.convertToShared(0x210, 0x620)).isEqualTo(new Conversion(Errno.OK, -1));

    assertThat(leafs2M(first)).isEmpty();
    assertThat(leafs4K(first, 0x200, 0x210)).isEqualTo(0x10);
    assertThat(leafs2M(second)).isEmpty();
    assertThat(leafs4K(second, BASE + 0x220, BASE + 0x400)).isEqualTo(0x1e0);
    assertThat(file.allocatedFrames()).isEqualTo(3 * 512);
    for (Vmm vmm : host.vmms()) {
      assertThat(vmm.kvm().mmu().splits().get(SplitCause.CONVERSION)).isEqualTo(1);
    }
    assertThat(TdScenario.fault(first, 0x210).error()).isEqualTo(Errno.EFAULT);
    assertThat(TdScenario.fault(second, BASE + 0x21f).error()).isEqualTo(Errno.EFAULT);
  }

  @Test
  void s16_aConversionTheSecondHasNoMemoryFor_convertsNothing() {
    host.pages().faults().failNext("external_page_table", 2);

    assertThat(file.convertToShared(0x210, 0x620))
        .isEqualTo(new Conversion(host.seen(Errno.ENOMEM), 0x210));

    assertThat(count(first, MmuCounter.MIRROR_SPLITS)).isEqualTo(1);
    assertThat(count(second, MmuCounter.MIRROR_SPLITS)).isZero();
    assertThat(leafs4K(first, 0x200, 0x400)).isEqualTo(512);
    assertNothingIsGone();
    assertThat(file.isShared(0x210)).isFalse();
    assertThat(TdScenario.fault(first, 0x210).result()).isEqualTo(RetPf.SPURIOUS);
  }

  /** Only a VM that has a part of the hole is locked or invalidated. */
  @Test
  void aHoleThatOnlyOneHas_leavesTheOtherAlone() {
    TdSnapshot before = TdSnapshot.of(host.tdx(), List.of(second));
    long writes = host.kernel().rwLocksTaken(LockMode.EXCLUSIVE);
    assertThat(file.punchHole(0x210, 0x220)).isEqualTo(Errno.OK);
    // Begin, split with its two drops, zap, end.
    assertThat(host.kernel().rwLocksTaken(LockMode.EXCLUSIVE) - writes).isEqualTo(4 + 2);
    assertThat(
            before
                .without("pages", "objects", "pair", "refcount")
                .diffTo(
                    TdSnapshot.of(host.tdx(), List.of(second))
                        .without("pages", "objects", "pair", "refcount")))
        .isEmpty();
  }

  /** Attributes are a VM's own: what one shares, the other keeps private. */
  @Test
  void attributesOfOne_doNotTouchTheOther() {
    assertThat(TdScenario.setAttributes(first, 0x400, 0x1000, false)).isEqualTo(Errno.OK);
    assertThat(leafs2M(first)).containsExactly(0x200L);
    assertThat(leafs2M(second)).containsExactly(BASE + 0x200);
    assertThat(file.pfnAt(0x400)).isNotEqualTo(PageAllocator.NO_PAGE);
  }
}
