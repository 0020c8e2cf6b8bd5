package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import org.junit.jupiter.api.Test;

/** TLB tracking: BLOCK, TRACK, kick, and what is refused before. */
final class EpochsTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;

  private final TestTd td = host.runnableTd();

  @Test
  void tracked_isForEpochsThatNobodyInsideCanRemember() {
    TlbEpochs epochs = new TlbEpochs(kernel);
    epochs.start();
    assertThat(epochs.isTracked(1)).isFalse();
    long first = epochs.enter();
    assertThat(epochs.tryAdvance()).isTrue();
    assertThat(epochs.isTracked(1)).isFalse();
    assertThat(epochs.isTracked(0)).isTrue();
    assertThat(epochs.tryAdvance()).isFalse();
    long second = epochs.enter();
    epochs.leave(first);
    assertThat(epochs.isTracked(1)).isTrue();
    assertThat(epochs.tryAdvance()).isTrue();
    assertThat(epochs.current()).isEqualTo(3);
    assertThat(epochs.isTracked(2)).isFalse();
    epochs.leave(second);
    assertThat(epochs.isTracked(2)).isTrue();
    assertThat(epochs.isTracked(3)).isFalse();
    assertThat(epochs.isTracked(1L << 63)).isFalse();
  }

  @Test
  void remove_ofUnblockedPage_isNotBlocked() {
    long hpa = td.augLarge(GPA);
    SeamRegs regs = td.remove(GPA, 1);
    assertStatus(regs.rax, TdxStatus.TDX_GPA_RANGE_NOT_BLOCKED | OperandId.RCX);
    assertThat(regs.rcx).isEqualTo(0x80000000000000F0L | hpa);
    assertThat(regs.rdx).isEqualTo(0x0201);
  }

  @Test
  void remove_andUnblock_beforeTrack_areTrackingNotDone() {
    td.augLarge(GPA);
    long notDone = TdxStatus.TDX_TLB_TRACKING_NOT_DONE | OperandId.RCX;
    assertStatus(td.block(GPA, 1), 0);
    assertStatus(td.remove(GPA, 1).rax, notDone);
    assertStatus(td.unblock(GPA, 1), notDone);
    assertStatus(td.track(), 0);
    assertStatus(td.unblock(GPA, 1), 0);
    assertThat(td.read(GPA, 1).rdx).isEqualTo(0x0201);
  }

  @Test
  void unblock_restoresMappedPagesAndTables() {
    long hpa = td.augLarge(GPA);
    td.run(ScriptedGuest.accept(GPA, 1));
    td.blockAndTrack(GPA, 1);
    td.blockAndTrack(GPA, 2);
    assertThat(td.read(GPA, 2).rdx).isEqualTo(0x8102);
    SeamRegs below = td.read(GPA, 1);
    assertStatus(below.rax, TdxStatus.TDX_EPT_WALK_FAILED | OperandId.RCX);
    assertThat(below.rdx).isEqualTo(0x8102);
    assertStatus(td.unblock(GPA, 2), 0);
    assertStatus(td.unblock(GPA, 1), 0);
    assertThat(td.read(GPA, 1).rcx).isEqualTo(0x80000000000004F7L | hpa);
    assertStatus(td.unblock(GPA, 1), TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT | OperandId.RCX);
  }

  @Test
  void block_ofFreeEntry_isStateIncorrect() {
    SeamRegs regs = host.call(SeamcallLeaf.TDH_MEM_RANGE_BLOCK, 3, td.tdr);
    assertStatus(regs.rax, TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT | OperandId.RCX);
    assertThat(regs.rcx).isEqualTo(1L << 63);
    assertThat(regs.rdx).isEqualTo(3);
  }

  @Test
  void kick_makesTrackingComplete() {
    td.augLarge(GPA);
    StickyProcessor processor = new StickyProcessor(kernel);
    KernelThread vcpu = td.enterAndStay(kernel, processor);
    assertStatus(td.block(GPA, 1), 0);
    assertStatus(td.track(), 0);
    assertStatus(td.remove(GPA, 1).rax, TdxStatus.TDX_TLB_TRACKING_NOT_DONE | OperandId.RCX);
    processor.interrupt();
    vcpu.join();
    assertThat(module.view().running(td.tdr)).isZero();
    assertStatus(td.remove(GPA, 1).rax, 0);
  }

  @Test
  void vcpuInside_keepsItsPagesLocked() {
    StickyProcessor processor = new StickyProcessor(kernel);
    KernelThread vcpu = td.enterAndStay(kernel, processor);
    assertStatus(
        host.call(SeamcallLeaf.TDH_VP_FLUSH, td.vcpu(), 0).rax,
        TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);
    assertStatus(
        host.call(SeamcallLeaf.TDH_MNG_VPFLUSHDONE, td.tdr, 0).rax,
        TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);
    assertStatus(td.enter(new ScriptedGuest()).rax, TdxStatus.TDX_VCPU_ASSOCIATED);
    processor.interrupt();
    vcpu.join();
  }

  @Test
  void beforeFinalize_nothingNeedsTracking() {
    TestTd building = host.createTd();
    long hpa = building.augLarge(GPA);
    assertThat(building.remove(GPA, 1).rcx).isEqualTo(hpa);
    assertStatus(building.read(GPA, 1).rax, 0);
  }

  @Test
  void whateverEndsOrResizesAMapping_retiresTheEpochOfItsBlocking() {
    long large = GPA + TestHost.MIB_2;
    td.augSmall(GPA);
    td.augLarge(large);
    td.blockAndTrack(GPA, 0);
    host.mustCall(SeamcallLeaf.TDH_MEM_PAGE_RELOCATE, GPA, td.tdr, host.controlPage());
    assertRetired(1);
    td.blockAndTrack(GPA, 0);
    host.mustCall(SeamcallLeaf.TDH_MEM_PAGE_REMOVE, GPA, td.tdr);
    assertRetired(2);
    td.blockAndTrack(GPA, 1);
    host.mustCall(SeamcallLeaf.TDH_MEM_SEPT_REMOVE, GPA | 1, td.tdr);
    assertRetired(3);
    td.blockAndTrack(large, 1);
    host.mustCall(td.demoteRegs(large));
    assertRetired(4);
    td.blockAndTrack(large, 1);
    host.mustCall(td.promoteRegs(large, 1, 0));
    assertRetired(5);
  }

  private void assertRetired(long epoch) {
    assertThat(module.state().td(td.tdr).epochs().retired()).isEqualTo(epoch);
  }
}
