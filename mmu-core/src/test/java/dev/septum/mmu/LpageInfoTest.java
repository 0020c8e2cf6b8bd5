package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Kernel;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import java.util.List;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

class LpageInfoTest {

  private final Kernel kernel = Kernel.host();

  @Test
  void alignedSlot_allowsEverywhere() {
    assertThat(forbidden(new GfnRange(0x200, 0x800), true)).isEmpty();
  }

  @Test
  void misalignedHeadAndTail_areForbidden() {
    assertThat(forbidden(new GfnRange(0x201, 0x800), true)).containsExactly(0x201L);
    assertThat(forbidden(new GfnRange(0x200, 0x7ff), true)).containsExactly(0x600L);
    assertThat(forbidden(new GfnRange(0x3ff, 0x801), true)).containsExactly(0x3ffL, 0x800L);
  }

  @Test
  void slotInsideOneHugePage_isForbiddenOnce() {
    LpageInfo info = new LpageInfo(kernel, PageLevel.LEVEL_2M, new GfnRange(0x201, 0x3ff), true);

    assertThat(info.isAllowed(0x300)).isFalse();
    assertThat(info.has(0x300, 1)).isTrue();
    assertThat(info.has(0x300, 2)).isFalse();
  }

  @Test
  void addressesThatDoNotLineUp_forbidEverything() {
    assertThat(forbidden(new GfnRange(0x200, 0x800), false))
        .containsExactly(0x200L, 0x400L, 0x600L);
  }

  @Test
  void slotOfManyHugePages_keepsEachApart() {
    LpageInfo info = new LpageInfo(kernel, PageLevel.LEVEL_2M, new GfnRange(0, 1200 * 512), true);

    info.set(700 * 512, LpageInfo.MIXED);

    assertThat(LongStream.range(0, 1200).filter(i -> !info.isAllowed(i * 512)))
        .containsExactly(700L);
  }

  @Test
  void flags_areIndependentOfEachOtherAndOfTheCount() {
    LpageInfo info = new LpageInfo(kernel, PageLevel.LEVEL_2M, new GfnRange(0x201, 0x800), true);

    info.set(0x210, LpageInfo.MIXED);
    info.set(0x210, LpageInfo.MIXED);
    info.set(0x210, LpageInfo.GUEST_INHIBIT);
    assertThat(info.has(0x3ff, LpageInfo.MIXED)).isTrue();
    assertThat(info.has(0x3ff, LpageInfo.GUEST_INHIBIT)).isTrue();
    assertThat(info.has(0x400, LpageInfo.MIXED | LpageInfo.GUEST_INHIBIT)).isFalse();

    info.clear(0x210, LpageInfo.MIXED);
    info.clear(0x210, LpageInfo.MIXED);
    assertThat(info.has(0x210, LpageInfo.MIXED)).isFalse();
    assertThat(info.has(0x210, LpageInfo.GUEST_INHIBIT)).isTrue();
    info.clear(0x210, LpageInfo.GUEST_INHIBIT);

    assertThat(info.isAllowed(0x210)).as("the head is still misaligned").isFalse();
    info.set(0x400, LpageInfo.MIXED);
    info.clear(0x400, LpageInfo.MIXED);
    assertThat(info.isAllowed(0x400)).isTrue();
  }

  @Test
  void flags_haveTheKernelsBits() {
    assertThat(LpageInfo.MIXED).isEqualTo(0x80000000L);
    assertThat(LpageInfo.GUEST_INHIBIT).isEqualTo(0x40000000L);
  }

  /** Two vCPUs hold mmu_lock for read: each has seen that the flag is not set. */
  @Test
  void theSameFlagSetTwiceAtOnce_isSetOnceAndBecomesNoOther() {
    TestKernel hooks = new TestKernel();
    LpageInfo info = new LpageInfo(hooks, PageLevel.LEVEL_2M, new GfnRange(0x201, 0x800), true);
    hooks.onExchange(() -> info.set(0x210, LpageInfo.GUEST_INHIBIT));

    info.set(0x210, LpageInfo.GUEST_INHIBIT);

    assertThat(info.has(0x210, LpageInfo.GUEST_INHIBIT)).isTrue();
    assertThat(info.has(0x210, LpageInfo.MIXED)).isFalse();
    assertThat(info.has(0x210, 1)).isTrue();
  }

  @Test
  void anotherFlagClearedMeanwhile_staysCleared() {
    TestKernel hooks = new TestKernel();
    LpageInfo info = new LpageInfo(hooks, PageLevel.LEVEL_2M, new GfnRange(0x200, 0x800), true);
    info.set(0x210, LpageInfo.MIXED);
    hooks.onExchange(() -> info.clear(0x210, LpageInfo.MIXED));

    info.set(0x210, LpageInfo.GUEST_INHIBIT);

    assertThat(info.has(0x210, LpageInfo.GUEST_INHIBIT)).isTrue();
    assertThat(info.has(0x210, LpageInfo.MIXED)).isFalse();
  }

  @Test
  void level1G_countsFromTheSlotsFirstGigabyte() {
    GfnRange slot = new GfnRange(0x40000, 0xc0001);
    LpageInfo info = new LpageInfo(kernel, PageLevel.LEVEL_1G, slot, true);

    assertThat(info.isAllowed(0x40000)).isTrue();
    assertThat(info.isAllowed(0xbffff)).isTrue();
    assertThat(info.isAllowed(0xc0000)).isFalse();
  }

  private List<Long> forbidden(GfnRange slot, boolean congruent) {
    LpageInfo info = new LpageInfo(kernel, PageLevel.LEVEL_2M, slot, congruent);
    return LongStream.range(slot.start(), slot.end())
        .filter(gfn -> gfn == slot.start() || gfn % 512 == 0)
        .filter(gfn -> !info.isAllowed(gfn))
        .boxed()
        .toList();
  }
}
