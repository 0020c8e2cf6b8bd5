package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.PageLevel;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SpteFormatTest {

  private static final LeafTraits READ_ONLY = new LeafTraits(false, false, false);
  private static final LeafTraits PREFETCHED = new LeafTraits(true, true, false);
  private static final LeafTraits WRITE_TRACKED = new LeafTraits(true, false, true);

  private static final PageLevel SMALL = PageLevel.LEVEL_4K;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;

  private final SpteFormat ept = SpteFormat.ept();
  private final SpteFormat adLess = SpteFormat.eptWithoutAccessDirty();
  private final SpteFormat td = SpteFormat.eptForTd();
  private final SpteFormat npt = SpteFormat.npt();

  private final long leaf = ept.makeLeaf(SMALL, 0x123456, LeafTraits.WRITABLE, true);
  private final long huge = ept.makeLeaf(HUGE, 0x123400, LeafTraits.WRITABLE, true);
  private final long gigabyte =
      ept.makeLeaf(PageLevel.LEVEL_1G, 0x140000, LeafTraits.WRITABLE, true);

  @Test
  void specialValues_areTheKernels() {
    assertThat(SpteFormat.NONPRESENT).isEqualTo(0x8000000000000000L);
    assertThat(SpteFormat.FROZEN).isEqualTo(0x80000000000005a0L);
    for (SpteFormat format : List.of(ept, adLess, td, npt)) {
      assertThat(format.isPresent(SpteFormat.NONPRESENT)).isFalse();
      assertThat(format.isPresent(SpteFormat.FROZEN)).isFalse();
      assertThat(format.isMmio(SpteFormat.NONPRESENT)).isFalse();
      assertThat(format.isMmio(SpteFormat.FROZEN)).isFalse();
    }
  }

  @Test
  void makeLeaf_ept4K_followsTheTraits() {
    assertThat(leaf).isEqualTo(0x8600000123456b77L);
    assertThat(ept.makeLeaf(SMALL, 0x123456, READ_ONLY, true)).isEqualTo(0x8000000123456975L);
    assertThat(ept.makeLeaf(SMALL, 0x123456, PREFETCHED, true)).isEqualTo(0x8600000123456a77L);
    assertThat(ept.makeLeaf(SMALL, 0x123456, WRITE_TRACKED, true)).isEqualTo(0x8200000123456975L);
  }

  @Test
  void makeLeaf_td_leavesTheGuestsPatAlone() {
    assertThat(td.makeLeaf(SMALL, 0x123456, LeafTraits.WRITABLE, true))
        .isEqualTo(0x8600000123456b37L);
    assertThat(td.makeLeaf(SMALL, 0x123456, PREFETCHED, true)).isEqualTo(0x8600000123456a37L);
  }

  @Test
  void makeLeaf_eptHuge_setsPageSizeAndObeysTheNxMitigation() {
    assertThat(huge).isEqualTo(0x8600000123400bf7L);
    assertThat(ept.makeLeaf(HUGE, 0x123400, LeafTraits.WRITABLE, false))
        .isEqualTo(0x8600000123400bf3L);
    assertThat(gigabyte).isEqualTo(0x8600000140000bf7L);
  }

  @Test
  void takingPermissionsAway_clearsJustThoseBits() {
    assertThat(ept.writeProtect(leaf)).isEqualTo(0x8600000123456b75L);
    assertThat(ept.clearDirty(leaf)).isEqualTo(0x8600000123456977L);
    assertThat(ept.writeTrack(leaf)).isEqualTo(0x8200000123456b75L);
    assertThat(ept.writeProtect(huge)).isEqualTo(0x8600000123400bf5L);
    assertThat(ept.makeWritable(ept.writeProtect(leaf))).isEqualTo(leaf);
    assertThat(ept.markForAccessTrack(leaf)).isEqualTo(0x8600000123456a77L);
  }

  @Test
  void accessTracking_withoutAdBits_savesReadAndExecuteButNotWrite() {
    long made = adLess.makeLeaf(SMALL, 0x123456, LeafTraits.WRITABLE, true);
    assertThat(made).isEqualTo(0x8610000123456b77L);

    long tracked = adLess.markForAccessTrack(made);
    assertThat(tracked).isEqualTo(0x8750000123456a70L);
    assertThat(adLess.isAccessTracked(tracked)).isTrue();
    assertThat(adLess.isAccessTracked(made)).isFalse();
    assertThat(adLess.markForAccessTrack(tracked)).isEqualTo(tracked);

    assertThat(adLess.markAccessed(tracked)).isEqualTo(0x8610000123456b75L);
    assertThat(adLess.restoreAccessTrack(tracked)).isEqualTo(0x8610000123456a75L);
    assertThat(adLess.makeLeaf(SMALL, 0x123456, PREFETCHED, true)).isEqualTo(tracked);
  }

  @Test
  void accessTracking_withAdBits_isNeverSeen() {
    assertThat(ept.isAccessTracked(leaf & ~7L)).isFalse();
    assertThat(ept.isAccessTracked(ept.markForAccessTrack(leaf))).isFalse();
  }

  @Test
  void makeNonleaf_dependsOnAdBitsOnly() {
    assertThat(ept.makeNonleaf(1)).isEqualTo(0x8000000000001907L);
    assertThat(td.makeNonleaf(1)).isEqualTo(0x8000000000001907L);
    assertThat(adLess.makeNonleaf(1)).isEqualTo(0x8010000000001807L);
    assertThat(npt.makeNonleaf(1)).isEqualTo(0x1827L);
  }

  @ParameterizedTest
  @CsvSource({
    "0, 8600000123400b77",
    "1, 8600000123401b77",
    "256, 8600000123500b77",
    "511, 86000001235ffb77"
  })
  void makeSmall_of2M_givesTheChild(int index, String expected) {
    assertThat(Long.toHexString(child(huge, SMALL, false, index))).isEqualTo(expected);
  }

  @ParameterizedTest
  @CsvSource({"0, 8600000140000bf7", "1, 8600000140200bf7", "511, 860000017fe00bf7"})
  void makeSmall_of1G_keepsPageSize(int index, String expected) {
    assertThat(Long.toHexString(child(gigabyte, HUGE, false, index))).isEqualTo(expected);
  }

  @Test
  void makeSmall_ofNx_regainsExecuteAt4KAndUnderTheMitigationOnly() {
    long nx = ept.makeLeaf(HUGE, 0x123400, LeafTraits.WRITABLE, false);
    assertThat(child(nx, SMALL, true, 511)).isEqualTo(0x86000001235ffb77L);
    assertThat(child(nx, SMALL, false, 511)).isEqualTo(0x86000001235ffb73L);

    long nxGigabyte = ept.makeLeaf(PageLevel.LEVEL_1G, 0x140000, LeafTraits.WRITABLE, false);
    assertThat(child(nxGigabyte, HUGE, true, 1)).isEqualTo(0x8600000140200bf3L);
  }

  @Test
  void makeSmall_inheritsEveryOtherBit() {
    assertThat(child(ept.writeProtect(huge), SMALL, false, 511)).isEqualTo(0x86000001235ffb75L);
    assertThat(child(ept.clearDirty(huge), SMALL, false, 1)).isEqualTo(0x8600000123401977L);
    assertThat(child(ept.writeTrack(huge), SMALL, false, 0)).isEqualTo(0x8200000123400b75L);
  }

  @Test
  void makeSmall_ofAccessTracked_staysTrackedAndKeepsExecuteForLater() {
    long nx = adLess.makeLeaf(HUGE, 0x123400, PREFETCHED, false);
    long small = child(nx, SMALL, true, 1);
    assertThat(adLess.isAccessTracked(small)).isTrue();
    assertThat(adLess.isExecutable(adLess.restoreAccessTrack(small))).isTrue();
    assertThat(adLess.isExecutable(adLess.restoreAccessTrack(child(nx, SMALL, false, 1))))
        .isFalse();
  }

  @Test
  void makeHuge_ofAccessTracked_losesExecuteAlsoForLater() {
    assertThat(adLess.makeHuge(0x8750000123405a70L, HUGE, false)).isEqualTo(0x8750000123400af0L);
    assertThat(adLess.makeHuge(0x8750000123405a70L, HUGE, true)).isEqualTo(0x8650000123400af0L);
    assertThat(adLess.restoreAccessTrack(0x8650000123400af0L)).isEqualTo(0x8610000123400af1L);
  }

  @Test
  void hardware_setsWhatTheAccessShows_whereThereAreAdBits() {
    assertThat(ept.afterRead(0x8600000123456877L)).isEqualTo(0x8600000123456977L);
    assertThat(ept.afterWrite(0x8600000123456877L)).isEqualTo(0x8600000123456b77L);
    assertThat(npt.afterRead(0x123456e07L)).isEqualTo(0x123456e27L);
    assertThat(npt.afterWrite(0x123456e07L)).isEqualTo(0x123456e67L);
    assertThat(adLess.afterWrite(0x8610000123456877L)).isEqualTo(0x8610000123456877L);
  }

  @Test
  void makeHuge_takesTheOneSampledChild() {
    long fifth = child(huge, SMALL, false, 5);
    assertThat(ept.makeHuge(fifth, HUGE, false)).isEqualTo(0x8600000123400bf7L);
    assertThat(ept.makeHuge(fifth, HUGE, true)).isEqualTo(0x8600000123400bf3L);
    assertThat(npt.makeHuge(0x123405e67L, HUGE, true)).isEqualTo(0x8000000123400ee7L);
  }

  @ParameterizedTest
  @CsvSource({
    "fee00, 0, fee00006, fee00000",
    "fee00, 2, fee00016, fee00010",
    "c0000, 12346, 12300000c0000236, 12300000c0000230"
  })
  void makeMmio_keepsGfnAndGeneration(String gfn, String generation, String ordinary, String ofTd) {
    long frame = Long.parseLong(gfn, 16);
    long gen = Long.parseLong(generation, 16);

    assertThat(ept.makeMmio(frame, gen)).isEqualTo(Long.parseLong(ordinary, 16));
    assertThat(td.makeMmio(frame, gen)).isEqualTo(Long.parseLong(ofTd, 16));
    for (SpteFormat format : List.of(ept, td, npt)) {
      long mmio = format.makeMmio(frame, gen);
      assertThat(format.isMmio(mmio)).isTrue();
      assertThat(format.isPresent(mmio)).isFalse();
      assertThat(format.mmioGeneration(mmio)).isEqualTo(gen);
    }
  }

  @Test
  void makeMmio_generationBeyond19Bits_wraps() {
    assertThat(ept.makeMmio(0xfee00, (1L << 19) | 2)).isEqualTo(0xfee00016L);
    assertThat(ept.mmioGeneration(ept.makeMmio(0xfee00, (1L << 19) - 1))).isEqualTo(0x7ffff);
  }

  @Test
  void makeMmio_npt_isWhatTheKernelRecorded() {
    assertThat(npt.makeMmio(0x40000, 2)).isEqualTo(0x8000040000017L);
    assertThat(npt.makeMmio(0x40000, 0xc)).isEqualTo(0x8000040000067L);
    assertThat(SpteFormat.mmioAccessBits(npt.makeMmio(0x40000, 2))).isEqualTo(7);
    assertThat(SpteFormat.mmioAccessBits(ept.makeMmio(0x40000, 2))).isEqualTo(6);
    assertThat(SpteFormat.mmioAccessBits(td.makeMmio(0x40000, 2))).isZero();
  }

  @Test
  void npt_leafs_areWhatTheKernelRecorded() {
    long small = npt.makeLeaf(SMALL, 0x10a7f5, LeafTraits.WRITABLE, true);
    long large = npt.makeLeaf(HUGE, 0x117400, LeafTraits.WRITABLE, true);

    assertThat(small).isEqualTo(0x10a7f5e67L);
    assertThat(large).isEqualTo(0x117400ee7L);
    assertThat(npt.makeLeaf(PageLevel.LEVEL_1G, 0x80000, LeafTraits.WRITABLE, true))
        .isEqualTo(0x80000ee7L);
    assertThat(npt.writeProtect(small)).isEqualTo(0x10a7f5e65L);
    assertThat(npt.writeProtect(large)).isEqualTo(0x117400ee5L);
    assertThat(npt.writeTrack(small)).isEqualTo(0x10a7f5a65L);
    assertThat(npt.writeTrack(large)).isEqualTo(0x117400ae5L);
    assertThat(npt.makeLeaf(SMALL, 0x10a7f5, READ_ONLY, true)).isEqualTo(0x10a7f5825L);
    assertThat(npt.makeLeaf(HUGE, 0x117400, READ_ONLY, true)).isEqualTo(0x1174008a5L);
    assertThat(npt.makeLeaf(HUGE, 0x117400, LeafTraits.WRITABLE, false))
        .isEqualTo(0x8000000117400ee7L);
    assertThat(npt.makeLeaf(SMALL, 0x10a7f5, PREFETCHED, true)).isEqualTo(0x10a7f5e47L);
    assertThat(npt.makeLeaf(HUGE, 0x117400, PREFETCHED, true)).isEqualTo(0x117400ec7L);
    assertThat(npt.clearDirty(small)).isEqualTo(0x10a7f5e27L);
    assertThat(npt.clearDirty(large)).isEqualTo(0x117400ea7L);
  }

  @Test
  void npt_split_clearsNxAt4KOnly() {
    long nx = 0x8000000117400ee7L;
    assertThat(npt.makeSmall(nx, SMALL, true)).isEqualTo(0x117400e67L);
    assertThat(npt.makeSmall(nx, SMALL, false)).isEqualTo(0x8000000117400e67L);
    assertThat(npt.makeSmall(0x8000000040000ee7L, HUGE, true)).isEqualTo(0x8000000040000ee7L);
    assertThat(npt.makeSmall(0x117400ec7L, SMALL, false)).isEqualTo(0x117400e47L);
  }

  @Test
  void predicates_tellLeafFromTable() {
    long table = ept.makeNonleaf(1);

    assertThat(ept.isPresentLeaf(leaf, SMALL)).isTrue();
    assertThat(ept.isPresentHuge(leaf)).isFalse();
    assertThat(ept.isPresentTable(leaf, SMALL)).isFalse();
    assertThat(ept.isPresentLeaf(huge, HUGE)).isTrue();
    assertThat(ept.isPresentHuge(huge)).isTrue();
    assertThat(ept.isPresentTable(table, HUGE)).isTrue();
    assertThat(ept.isPresentLeaf(table, HUGE)).isFalse();
    assertThat(ept.isPresentHuge(table)).isFalse();
    assertThat(ept.isPresentTable(SpteFormat.FROZEN, HUGE)).isFalse();
    assertThat(ept.isPresentHuge(SpteFormat.FROZEN)).isFalse();
    assertThat(ept.isPresentLeaf(SpteFormat.NONPRESENT, SMALL)).isFalse();
    assertThat(ept.pfn(leaf)).isEqualTo(0x123456);
    assertThat(ept.pfn(table)).isEqualTo(1);
  }

  @Test
  void predicates_readOneBitEach() {
    for (SpteFormat format : List.of(ept, td, npt)) {
      long made = format.makeLeaf(SMALL, 7, LeafTraits.WRITABLE, true);
      assertThat(format.isWritable(made)).isTrue();
      assertThat(format.isMmuWritable(made)).isTrue();
      assertThat(format.isHostWritable(made)).isTrue();
      assertThat(format.isExecutable(made)).isTrue();
      assertThat(format.isUser(made)).isTrue();
      assertThat(format.isAccessed(made)).isTrue();
      assertThat(format.isDirty(made)).isTrue();
      assertThat(format.isAdEnabled()).isTrue();
      assertThat(format.isWritable(format.writeProtect(made))).isFalse();
      assertThat(format.isMmuWritable(format.writeTrack(made))).isFalse();
      assertThat(format.isDirty(format.clearDirty(made))).isFalse();
      assertThat(format.isAccessed(format.markForAccessTrack(made))).isFalse();
      assertThat(format.isExecutable(format.makeLeaf(HUGE, 0, LeafTraits.WRITABLE, false)))
          .isFalse();
      assertThat(format.isHostWritable(format.makeLeaf(SMALL, 7, READ_ONLY, true))).isFalse();
    }
    assertThat(adLess.isAdEnabled()).isFalse();
  }

  @Test
  void needsAtomicUpdate_whereSomethingOutsideTheLockMayChangeTheEntry() {
    assertThat(ept.needsAtomicUpdate(leaf)).isFalse();
    assertThat(ept.needsAtomicUpdate(ept.writeProtect(leaf))).isTrue();
    assertThat(ept.needsAtomicUpdate(ept.clearDirty(leaf))).isTrue();
    assertThat(ept.needsAtomicUpdate(ept.writeTrack(leaf))).isFalse();
    assertThat(ept.needsAtomicUpdate(ept.makeLeaf(SMALL, 1, READ_ONLY, true))).isFalse();
    assertThat(adLess.needsAtomicUpdate(adLess.makeLeaf(SMALL, 1, READ_ONLY, true))).isTrue();
  }

  @Test
  void isWritabilityConsistent_holdsInTheFourLegalStatesOnly() {
    assertThat(ept.isWritabilityConsistent(leaf)).isTrue();
    assertThat(ept.isWritabilityConsistent(ept.writeProtect(leaf))).isTrue();
    assertThat(ept.isWritabilityConsistent(ept.writeTrack(leaf))).isTrue();
    assertThat(ept.isWritabilityConsistent(ept.makeLeaf(SMALL, 1, READ_ONLY, true))).isTrue();

    assertThat(ept.isWritabilityConsistent(leaf & ~(1L << 57))).isFalse();
    assertThat(ept.isWritabilityConsistent(leaf & ~(1L << 58))).isFalse();
    assertThat(ept.isWritabilityConsistent(ept.makeLeaf(SMALL, 1, READ_ONLY, true) | 2)).isFalse();
  }

  private long child(long parent, PageLevel level, boolean nxHugePages, int index) {
    SpteFormat format = (parent & (3L << 52)) == 0 ? ept : adLess;
    return format.makeSmall(parent, level, nxHugePages) + index * SpteFormat.splitStride(level);
  }
}
