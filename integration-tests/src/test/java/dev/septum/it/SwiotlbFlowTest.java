package dev.septum.it;

import static dev.septum.it.TdScenario.GIB;
import static dev.septum.it.TdScenario.MIB;
import static dev.septum.it.TdScenario.count;
import static dev.septum.it.TdScenario.leafs2M;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Placement;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.guest.ConvertMemory;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/**
 * A guest's bounce buffer of 1 GiB at an address that is no multiple of 2 MiB, as guests place
 * theirs: what KVM's pieces of 2 MiB cost, and what one call would.
 */
final class SwiotlbFlowTest {

  /** 2 MiB and 255 frames, so that every piece cuts a leaf. */
  private static final long START = 0x2ff000;

  private static final long END = START + GIB;
  private static final int LEAFS_TOUCHED = 513;

  @RegisterExtension
  final TdScenario host = TdScenario.of(TdxModuleConfig.defaults(), Placement.SEQUENTIAL, 2 * GIB);

  private Vmm boot(long pieceBytes) {
    TdLayout layout = TdScenario.layout(1, new TdLayout.Region(0, GIB + 8 * MIB));
    Vmm vmm = host.boot(TdScenario.withPieces(layout, pieceBytes));
    TdScenario.accept2M(vmm, 0, 516);
    return vmm;
  }

  @Test
  void inPiecesOf2MiB_everyLeafIsSplit() {
    Vmm vmm = boot(KvmTdx.MAP_GPA_MAX_LEN);
    TdScenario.run(vmm, ConvertMemory.toShared(START, END));

    assertThat(vmm.kvm().counters().get(TdxCounter.MAP_GPA_CALLS)).isEqualTo(1);
    assertThat(vmm.kvm().counters().get(TdxCounter.MAP_GPA_CHUNKS)).isEqualTo(512);
    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isEqualTo(LEAFS_TOUCHED);
    assertThat(vmm.kvm().mmu().splits().get(SplitCause.MEMORY_ATTRIBUTES)).isEqualTo(LEAFS_TOUCHED);
    assertThat(count(vmm, MmuCounter.HUGE_LEAFS_ZAPPED)).isZero();
    assertThat(count(vmm, MmuCounter.SMALL_LEAFS_ZAPPED)).isEqualTo(512 * 512);
    assertThat(leafs2M(vmm)).containsExactly(0L, 0x40400L, 0x40600L);
    assertThat(TdScenario.leafs4K(vmm, 0, 0x40800)).isEqualTo(512);
  }

  @Test
  void inOneCall_onlyTheFirstAndTheLastLeafAreSplit() {
    Vmm vmm = boot(2 * GIB);
    TdScenario.run(vmm, ConvertMemory.toShared(START, END));

    assertThat(vmm.kvm().counters().get(TdxCounter.MAP_GPA_CHUNKS)).isEqualTo(1);
    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isEqualTo(2);
    assertThat(count(vmm, MmuCounter.HUGE_LEAFS_ZAPPED)).isEqualTo(511);
    assertThat(count(vmm, MmuCounter.SMALL_LEAFS_ZAPPED)).isEqualTo(512);
    assertThat(leafs2M(vmm)).containsExactly(0L, 0x40400L, 0x40600L);
    assertThat(TdScenario.leafs4K(vmm, 0, 0x40800)).isEqualTo(512);
  }
}
