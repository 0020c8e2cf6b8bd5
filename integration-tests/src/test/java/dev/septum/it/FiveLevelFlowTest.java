package dev.septum.it;

import static dev.septum.it.TdScenario.GIB;
import static dev.septum.it.TdScenario.MIB;
import static dev.septum.it.TdScenario.leafs2M;
import static dev.septum.it.TdScenario.leafs4K;
import static dev.septum.it.TdScenario.run;
import static dev.septum.it.TdScenario.split;
import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.Memslot;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.AcceptMemory.Order;
import dev.septum.tdx.guest.ConvertMemory;
import dev.septum.tdx.guest.GuestPanic;
import dev.septum.tdx.guest.TouchMemory;
import dev.septum.tdx.module.AccessKind;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A TD with 52-bit GPAs and memory above 256 TiB: every entry point of a split, table by table. */
final class FiveLevelFlowTest {

  private static final long BASE = 1L << 48;

  /** The leaf that the flows work on. */
  private static final long GFN = (BASE >>> 12) + 0x200;

  private static final long SHARED = KvmTdx.SHARED_BIT_PWL_5;

  /** The tables for the measured memory below 4 GiB. */
  private static final List<String> FIRMWARE_TABLES =
      List.of("256T 0", "512G 0", "1G c0000", "2M ffe00");

  @RegisterExtension
  final TdScenario host =
      TdScenario.of(
          TdxModuleConfig.defaults().withNonBlockingResize(true), Placement.SEQUENTIAL, GIB);

  private Vmm boot(TdLayout.Region region) {
    return host.boot(
        TdScenario.withVirtualizationExceptions(TdScenario.layout(1, region)).withGpaw(true));
  }

  /** A TD of 16 MiB above 256 TiB. */
  private Vmm boot() {
    return boot(new TdLayout.Region(BASE, BASE + 16 * MIB));
  }

  private Vmm bootWithLeafs(int leafs) {
    Vmm vmm = boot();
    TdScenario.accept2M(vmm, GFN, leafs);
    return vmm;
  }

  /** The mirror's tables, by the level and gfn of the entries that point to them. */
  private static List<String> tables(Vmm vmm) {
    return new MmuView(vmm.kvm().mmu())
        .mirrorTables().stream()
            .map(table -> "%s %x".formatted(name(table.level()), table.gfn()))
            .toList();
  }

  private static String name(PageLevel level) {
    return level.name().replace("LEVEL_", "");
  }

  /** Both sides have the firmware's tables, three above the 2M leafs, and those of split leafs. */
  private void assertTables(Vmm vmm, Long... splitLeafs) {
    String base = Long.toHexString(BASE >>> 12);
    assertThat(tables(vmm))
        .containsAll(FIRMWARE_TABLES)
        .contains("256T " + base, "512G " + base, "1G " + base)
        .hasSize(FIRMWARE_TABLES.size() + 3 + splitLeafs.length);
    for (long gfn : splitLeafs) {
      assertThat(tables(vmm)).contains("2M " + Long.toHexString(gfn));
      assertThat(leafs2M(vmm)).doesNotContain(gfn);
    }
    assertThat(host.tdx().module().view().tables(vmm.kvm().tdr() << 12)).hasSameSizeAs(tables(vmm));
    host.checkInvariants();
  }

  @Test
  void aTdWith52BitGpas_hasRootsOfFiveLevels_andItsSharedBitAt51() {
    Vmm vmm = bootWithLeafs(2);
    assertThat(vmm.kvm().sharedBit()).isEqualTo(1L << 51);
    assertThat(new MmuView(vmm.kvm().mmu()).dump()).contains("level=5").doesNotContain("level=6");
    assertThat(leafs2M(vmm)).containsExactly(GFN, GFN + 512);
    assertTables(vmm);
  }

  @Test
  void aTdWith48BitGpas_hasRootsOfFour_onTheSameHost() {
    Vmm vmm = host.bootWithLeafs(1);
    assertThat(vmm.kvm().sharedBit()).isEqualTo(1L << 47);
    assertThat(tables(vmm)).doesNotContain("256T 0").contains("512G 0");
  }

  @ParameterizedTest
  @EnumSource
  void anAccept_splits(Order order) {
    Vmm vmm = boot();
    run(vmm, new TouchOnce(GFN));
    assertThat(leafs2M(vmm)).containsExactly(GFN);
    run(vmm, new AcceptMemory((GFN + 7) << 12, (GFN + 9) << 12, order));
    assertThat(vmm.kvm().mmu().splits().get(SplitCause.GUEST_ACCEPT)).isEqualTo(1);
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(512);
    assertTables(vmm, GFN);
  }

  @Test
  void aGuestsConversion_splitsHeadAndTail_andComesBack() {
    Vmm vmm = bootWithLeafs(3);
    long start = (GFN + 0x10) << 12;
    long end = (GFN + 0x410) << 12;
    run(
        vmm,
        ConvertMemory.toShared(start, end).withSharedBit(SHARED),
        new TouchMemory(start | SHARED, (start + 8 * 4096) | SHARED, AccessKind.WRITE));

    // Two pieces: the second one begins in the middle leaf.
    assertThat(vmm.kvm().mmu().splits().get(SplitCause.MEMORY_ATTRIBUTES)).isEqualTo(3);
    assertThat(leafs4K(vmm, GFN, GFN + 0x600)).isEqualTo(0x600 - 0x400);
    assertThat(vmm.sharedPages()).isEqualTo(8);
    assertTables(vmm, GFN, GFN + 512, GFN + 1024);

    run(
        vmm,
        ConvertMemory.toPrivate(start, end).withSharedBit(SHARED),
        new AcceptMemory(start, end, Order.ACCEPT_FIRST),
        new TouchMemory(GFN << 12, (GFN + 0x600) << 12, AccessKind.WRITE));
    assertThat(leafs4K(vmm, GFN, GFN + 0x600)).isEqualTo(0x600);
    assertThat(vmm.sharedPages()).isZero();
  }

  @Test
  void changedAttributes_split() {
    Vmm vmm = bootWithLeafs(2);
    assertThat(vmm.kvm().mmu().memory().setAttributes(new GfnRange(GFN + 16, GFN + 32), false))
        .isEqualTo(Errno.OK);
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(512 - 16);
    assertThat(leafs2M(vmm)).containsExactly(GFN + 512);
    assertTables(vmm, GFN);
  }

  @Test
  void aPunchedHole_splits() {
    Vmm vmm = bootWithLeafs(2);
    assertThat(vmm.files().get(0).punchHole(0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(vmm.kvm().mmu().splits().get(SplitCause.PUNCH_HOLE)).isEqualTo(1);
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(512 - 16);
    assertTables(vmm, GFN);
  }

  @Test
  void aFaultBelowTheLeaf_splits() {
    Vmm vmm = boot();
    run(vmm, new TouchOnce(GFN));
    Memslot slot = requireNonNull(vmm.kvm().mmu().memslots().find(GFN));
    slot.setGuestInhibit(GFN, PageLevel.LEVEL_2M);
    run(vmm, new AcceptMemory(GFN << 12, (GFN + 1) << 12, Order.ACCEPT_FIRST));
    assertThat(vmm.kvm().mmu().splits().get(SplitCause.FAULT)).isEqualTo(1);
    assertTables(vmm, GFN);
  }

  @ParameterizedTest
  @EnumSource
  void leafsSplitAheadOfNeed(LockMode mode) {
    Vmm vmm = bootWithLeafs(3);
    vmm.kvm().mmuLock().lock(mode);
    Errno error =
        vmm.kvm().mmu().splitHugePages(GfnRange.ofPages(GFN, 1024), PageLevel.LEVEL_4K, mode);
    vmm.kvm().mmuLock().unlock(mode);
    assertThat(error).isEqualTo(Errno.OK);
    assertThat(leafs2M(vmm)).containsExactly(GFN + 1024);
    assertTables(vmm, GFN, GFN + 512);
  }

  @Test
  void aFailedSplit_leavesEveryTable() {
    Vmm vmm = bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    host.pages().faults().failNext("external_page_table", 1);
    assertThat(split(vmm, GFN + 1, GFN + 2)).isEqualTo(Errno.ENOMEM);
    assertThat(before.diffTo(host.snapshot())).isEmpty();
    assertTables(vmm);
  }

  /** The last private page there is, next to the shared bit. */
  @Test
  void memoryUpToTheSharedBit_isMappedAndSplit() {
    Vmm vmm = boot(new TdLayout.Region(SHARED - 4 * MIB, SHARED));
    long gfn = (SHARED >>> 12) - 512;
    TdScenario.accept2M(vmm, gfn, 1);
    run(
        vmm,
        ConvertMemory.toShared(SHARED - 4096, SHARED).withSharedBit(SHARED),
        new TouchMemory((SHARED - 4096) | SHARED, SHARED << 1, AccessKind.WRITE));
    assertThat(leafs4K(vmm, gfn, gfn + 512)).isEqualTo(511);
    assertThat(vmm.sharedPages()).isEqualTo(1);
    assertThat(tables(vmm))
        .contains("256T 7000000000", "512G 7ff8000000", "1G 7ffffc0000", "2M 7ffffffe00");
  }

  /** What lies above 48 bits is nobody's in a TD that has no more. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void aConversionBehindTheSharedBit_isRefused(boolean gpaw) {
    Vmm vmm = gpaw ? boot() : host.boot();
    long limit = vmm.kvm().sharedBit();
    assertThatThrownBy(
            () ->
                run(
                    vmm,
                    ConvertMemory.toShared(limit - 4096, limit + 4096).withSharedBit(limit << 1)))
        .isInstanceOf(GuestPanic.class)
        .hasMessageContaining("MapGPA");
  }

  @Test
  void withoutFiveLevels_aTdWith52BitGpas_isRefused() {
    TdScenario four =
        TdScenario.of(TdxModuleConfig.defaults().withFiveLevel(false), Placement.SEQUENTIAL, GIB);
    TdLayout layout =
        TdScenario.layout(1, new TdLayout.Region(BASE, BASE + 16 * MIB)).withGpaw(true);
    assertThatThrownBy(() -> four.boot(layout)).hasMessage("KVM_TDX_INIT_VM failed: EINVAL");
    four.assertNothingIsLeft();
  }
}
