package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.LockMode;
import java.util.Objects;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;

/** TDH.MEM.PAGE.DEMOTE: each refusal, in the order of the checks, and that it changes nothing. */
final class DemoteTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;

  private final TestTd td = host.runnableTd();
  private final long hpa = td.augLarge(GPA);
  private final Pamt pamt = module.state().pamt();

  @Test
  void demote_withoutTrack_isTlbTrackingNotDone() {
    assertStatus(td.block(GPA, 1), 0);
    assertRefused(regs -> regs, TdxStatus.TDX_TLB_TRACKING_NOT_DONE | OperandId.RCX);
  }

  @Test
  void demote_ofSmallLevelOrReservedBits_isOperandInvalid() {
    td.blockAndTrack(GPA, 1);
    long rcxInvalid = TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX;
    assertRefused(regs -> regs.rcx(GPA), rcxInvalid);
    assertRefused(regs -> regs.rcx(GPA | 3), rcxInvalid);
    assertRefused(regs -> regs.rcx(GPA + 4096 | 1), rcxInvalid);
    assertRefused(regs -> regs.rcx(GPA | 9), rcxInvalid);
    assertRefused(regs -> regs.rcx(GPA | 1L << 47 | 1), rcxInvalid);
    assertRefused(regs -> regs.rdx(td.tdr | 2), TdxStatus.TDX_OPERAND_INVALID | OperandId.RDX);
  }

  @Test
  void demote_ofPageThatIsNoTdr_isMetadataIncorrect() {
    td.blockAndTrack(GPA, 1);
    long wrong = TdxStatus.TDX_PAGE_METADATA_INCORRECT | OperandId.RDX;
    assertRefused(regs -> regs.rdx(td.vcpu()), wrong);
    assertRefused(regs -> regs.rdx(hpa), wrong);
    assertRefused(regs -> regs.rdx(GIB - 4096), wrong);
    assertRefused(regs -> regs.rdx(GIB), TdxStatus.TDX_OPERAND_ADDR_RANGE_ERROR | OperandId.RDX);
  }

  @Test
  void demote_withBadSeptPage_isRefusedOnR8() {
    td.blockAndTrack(GPA, 1);
    assertRefused(regs -> regs.r8(regs.r8 | 1), TdxStatus.TDX_OPERAND_INVALID | OperandId.R8);
    assertRefused(regs -> regs.r8(1L << 45), TdxStatus.TDX_OPERAND_INVALID | OperandId.R8);
    assertRefused(
        regs -> regs.r8(host.pamtPage()), TdxStatus.TDX_MISSING_PAMT_PAGE_PAIR | OperandId.R8);
    assertRefused(regs -> regs.r8(td.vcpu()), TdxStatus.TDX_PAGE_METADATA_INCORRECT | OperandId.R8);
    assertRefused(
        regs -> regs.r8(hpa + 4096), TdxStatus.TDX_PAGE_METADATA_INCORRECT | OperandId.R8);
  }

  @Test
  void demote_withTheTdrAsSeptPage_meetsItsOwnLock() {
    td.blockAndTrack(GPA, 1);
    assertRefused(regs -> regs.r8(td.tdr), TdxStatus.TDX_OPERAND_BUSY | OperandId.R8);
  }

  @Test
  void demote_withBadPagePair_isRefusedOnR12AndR13() {
    td.blockAndTrack(GPA, 1);
    assertRefused(regs -> regs.r12(regs.r12 + 8), TdxStatus.TDX_OPERAND_INVALID | OperandId.R12);
    assertRefused(
        regs -> regs.r13(regs.r13 + 8).r12(GIB), TdxStatus.TDX_OPERAND_INVALID | OperandId.R13);
    assertRefused(regs -> regs.r12(GIB), TdxStatus.TDX_OPERAND_ADDR_RANGE_ERROR | OperandId.R12);
    assertRefused(regs -> regs.r13(GIB), TdxStatus.TDX_OPERAND_ADDR_RANGE_ERROR | OperandId.R13);
    assertRefused(regs -> regs.r12(td.tdr), TdxStatus.TDX_PAGE_NOT_FREE | OperandId.R12);
    assertRefused(regs -> regs.r13(td.tdr), TdxStatus.TDX_PAGE_NOT_FREE | OperandId.R13);
    assertRefused(regs -> regs.r13(regs.r12), TdxStatus.TDX_PAGE_NOT_FREE | OperandId.R13);
    assertRefused(regs -> regs.r12(usedPair()), TdxStatus.TDX_PAGE_NOT_FREE | OperandId.R12);
  }

  @Test
  void demote_withPairInsideTheLargePage_isBusy() {
    td.blockAndTrack(GPA, 1);
    assertRefused(regs -> regs.r12(hpa + 4096), TdxStatus.TDX_OPERAND_BUSY | OperandId.R12);
    assertRefused(regs -> regs.r13(hpa), TdxStatus.TDX_OPERAND_BUSY | OperandId.R13);
    assertRefused(regs -> regs.r12(regs.r8), TdxStatus.TDX_OPERAND_BUSY | OperandId.R12);
  }

  @Test
  void demote_ofBusyPamtEntry_isBusyWithoutEntryInfo() {
    td.blockAndTrack(GPA, 1);
    PamtEntry large = pamt.entry(hpa, 1);
    assertThat(large.tryLock(LockMode.SHARED)).isTrue();
    assertRefused(regs -> regs, TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);
    large.unlock(LockMode.SHARED);
    assertStatus(td.demote(GPA).rax, 0);
  }

  @Test
  void demote_ofBlockedMapped_givesMappedPages() {
    td.run(ScriptedGuest.accept(GPA, 1));
    td.blockAndTrack(GPA, 1);
    assertStatus(td.demote(GPA).rax, 0);
    assertThat(module.view().leafs(td.tdr))
        .hasSize(512)
        .allMatch(leaf -> leaf.state() == SeptState.MAPPED && leaf.level() == 0);
  }

  @Test
  void demote_writesNo512Entries() {
    td.blockAndTrack(GPA, 1);
    SeamRegs regs = host.mustCall(td.demoteRegs(GPA));
    assertThat(module.state().septPages().table(regs.r8).isUniform()).isTrue();
    PamtTable pages = Objects.requireNonNull(pamt.pagesOf(hpa));
    assertThat(pages.first().isUniform()).isTrue();
    assertThat(module.view().pamtPairs().get(hpa))
        .isEqualTo(new TdxModuleView.PagePairView(regs.r12, regs.r13, 512));
  }

  @Test
  void demote_beforeFinalize_needsNoBlock() {
    TestTd building = host.createTd();
    building.augLarge(GPA);
    assertStatus(building.demote(GPA).rax, 0);
  }

  @Test
  void demote_onOldModuleWithInterrupt_isRestartable() {
    TdxModule old =
        new TdxModule(
            kernel, TdxModuleConfig.defaults().withEnhancedDemoteInterruptibility(false), GIB);
    TestHost oldHost = new TestHost(old);
    TestTd oldTd = oldHost.runnableTd();
    oldTd.augLarge(GPA);
    oldTd.blockAndTrack(GPA, 1);
    SeamRegs regs = oldTd.demoteRegs(GPA);
    oldHost.call(regs, new ScriptedGuest());
    assertStatus(regs.rax, TdxStatus.TDX_INTERRUPTED_RESTARTABLE);
    assertThat(regs.rcx).isEqualTo(GPA | 1);
    assertThat(regs.rdx).isEqualTo(oldTd.tdr);
    regs.rax = SeamcallLeaf.TDH_MEM_PAGE_DEMOTE.number();
    assertStatus(oldHost.call(regs).rax, 0);
    assertThat(old.view().violations()).isEmpty();
  }

  @Test
  void demote_onNewModuleWithInterrupt_succeeds() {
    td.blockAndTrack(GPA, 1);
    SeamRegs regs = td.demoteRegs(GPA);
    assertStatus(host.call(regs, new ScriptedGuest()).rax, 0);
  }

  @Test
  void demote_withNonBlockingResize_takesAnUnblockedLeaf() {
    TdxModule resizing =
        new TdxModule(kernel, TdxModuleConfig.defaults().withNonBlockingResize(true), GIB);
    TestHost resizingHost = new TestHost(resizing);
    TestTd resizingTd = resizingHost.runnableTd();
    resizingTd.augLarge(GPA);
    resizingTd.augLarge(GPA + TestHost.MIB_2);
    assertStatus(resizingTd.demote(GPA).rax, 0);
    assertStatus(resizingTd.block(GPA + TestHost.MIB_2, 1), 0);
    assertStatus(
        resizingTd.demote(GPA + TestHost.MIB_2).rax,
        TdxStatus.TDX_TLB_TRACKING_NOT_DONE | OperandId.RCX);
    assertThat(resizing.view().violations()).isEmpty();
  }

  private long usedPair() {
    return module.view().pamtPairs().values().iterator().next().page0();
  }

  /** A refused DEMOTE changes nothing: the same call with the right operands still goes through. */
  private void assertRefused(UnaryOperator<SeamRegs> spoil, long status) {
    var leafs = module.view().leafs(td.tdr);
    var pages = module.view().assignedPages();
    var pairs = module.view().pamtPairs();
    SeamRegs regs = host.call(spoil.apply(td.demoteRegs(GPA)));
    assertStatus(regs.rax, status);
    assertThat(regs.rcx).isZero();
    assertThat(regs.rdx).isZero();
    assertThat(module.view().leafs(td.tdr)).isEqualTo(leafs);
    assertThat(module.view().assignedPages()).isEqualTo(pages);
    assertThat(module.view().pamtPairs()).isEqualTo(pairs);
  }
}
