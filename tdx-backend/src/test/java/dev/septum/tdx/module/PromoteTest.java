package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.kernel.LockMode;
import java.util.List;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

/** TDH.MEM.PAGE.PROMOTE: DEMOTE's mirror image, and each refusal in the order of the checks. */
final class PromoteTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;
  private static final long RCX = OperandId.RCX;

  private final TestTd td = host.runnableTd();
  private final long hpa = td.augLarge(GPA);

  @Test
  void promote_undoesDemote() {
    List<TdxModuleView.SeptLeaf> leafs = module.view().leafs(td.tdr);
    var pages = module.view().assignedPages();
    var pairs = module.view().pamtPairs();
    long children = module.view().childCount(td.tdr);
    SeamRegs demoted = demote();
    td.blockAndTrack(GPA, 1);
    SeamRegs promoted = td.promote(GPA, 1, 0);
    assertThat(promoted.rax).isZero();
    assertThat(promoted.rcx).isEqualTo(demoted.r8);
    assertThat(promoted.rdx).isZero();
    assertThat(promoted.r12).isEqualTo(demoted.r12);
    assertThat(promoted.r13).isEqualTo(demoted.r13);
    assertThat(module.view().leafs(td.tdr)).isEqualTo(leafs);
    assertThat(module.view().assignedPages()).isEqualTo(pages);
    assertThat(module.view().pamtPairs()).isEqualTo(pairs);
    assertThat(module.view().childCount(td.tdr)).isEqualTo(children);
  }

  @Test
  void promote_version1_saysThatNoNestedTablesCameBack() {
    demote();
    td.blockAndTrack(GPA, 1);
    SeamRegs promoted = td.promote(GPA, 1, 1);
    assertThat(List.of(promoted.rax, promoted.r9, promoted.r10, promoted.r11))
        .containsExactly(0L, -1L, -1L, -1L);
    assertStatus(td.promote(GPA, 1, 2).rax, TdxStatus.TDX_OPERAND_INVALID | OperandId.RAX);
  }

  @Test
  void promote_ofLastTableInItsRegion_hintsAtTheRemoval() {
    td.blockAndTrack(GPA, 1);
    long region = host.largePage();
    host.addPair(region);
    host.mustCall(td.demoteRegs(GPA).r8(region));
    td.blockAndTrack(GPA, 1);
    assertThat(td.promote(GPA, 1, 0).rcx).isEqualTo(region | 1L << 62);
    host.mustCall(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, region | 1, 0);
  }

  @Test
  void promote_ofAcceptedPages_isMapped() {
    demote();
    acceptAll();
    td.blockAndTrack(GPA, 1);
    assertStatus(td.promote(GPA, 1, 0).rax, 0);
    assertThat(module.view().leafs(td.tdr))
        .containsExactly(new TdxModuleView.SeptLeaf(GPA, 1, SeptState.MAPPED, hpa, false));
  }

  @Test
  void promote_ofLargePages_makesAGigabytePage_andDemoteUndoesIt() {
    TdxModule big = new TdxModule(kernel, TdxModuleConfig.defaults(), 2 * GIB);
    TestHost bigHost = new TestHost(big);
    TestTd bigTd = bigHost.runnableTd();
    bigTd.addTables(GPA, 1);
    for (int i = 0; i < 512; i++) {
      long at = i * TestHost.MIB_2;
      bigHost.mustCall(SeamcallLeaf.TDH_MEM_PAGE_AUG, GPA + at | 1, bigTd.tdr, GIB + at);
    }
    bigTd.blockAndTrack(GPA, 2);
    SeamRegs promoted = bigTd.promote(GPA, 2, 0);
    assertStatus(promoted.rax, 0);
    assertThat(big.view().leafs(bigTd.tdr))
        .containsExactly(new TdxModuleView.SeptLeaf(GPA, 2, SeptState.PENDING, GIB, false));
    assertThat(big.view().violations()).isEmpty();
    bigTd.blockAndTrack(GPA, 2);
    bigHost.mustCall(bigTd.demoteRegs(GPA).rcx(GPA | 2));
    assertThat(big.view().leafs(bigTd.tdr)).hasSize(512).allMatch(leaf -> leaf.level() == 1);
    bigTd.blockAndTrack(GPA, 2);
    assertStatus(bigTd.promote(GPA, 2, 0).rax, 0);
    bigTd.blockAndTrack(GPA, 2);
    assertThat(bigTd.remove(GPA, 2).rcx).isEqualTo(GIB);
    assertThat(big.view().violations()).isEmpty();
  }

  @Test
  void promote_inStaticMode_givesNoPair() {
    TdxModule other = new TdxModule(kernel, TdxModuleConfig.defaults().withDynamicPamt(false), GIB);
    TestHost otherHost = new TestHost(other).audited();
    TestTd otherTd = otherHost.runnableTd();
    long large = otherTd.augLarge(GPA);
    otherTd.blockAndTrack(GPA, 1);
    assertStatus(otherTd.demote(GPA).rax, 0);
    otherTd.blockAndTrack(GPA, 1);
    SeamRegs promoted = otherTd.promote(GPA, 1, 0);
    assertStatus(promoted.rax, 0);
    assertThat(promoted.r12).isZero();
    assertThat(other.view().ownerOf(large)).isEqualTo(otherTd.tdr);
    assertThat(otherHost.violations()).isEmpty();
  }

  @Test
  void promote_ofLeafOrNothing_isStateIncorrect() {
    SeamRegs leaf = td.promote(GPA, 1, 0);
    assertStatus(leaf.rax, TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT | RCX);
    assertThat(leaf.rdx).isEqualTo(0x0201);
    assertStatus(td.promote(GPA, 0, 0).rax, TdxStatus.TDX_OPERAND_INVALID | RCX);
  }

  @Test
  void promote_beforeBlockOrTrack_isRefused() {
    demote();
    SeamRegs unblocked = td.promote(GPA, 1, 0);
    assertStatus(unblocked.rax, TdxStatus.TDX_GPA_RANGE_NOT_BLOCKED | RCX);
    assertThat(unblocked.rdx).isEqualTo(0x8401);
    td.block(GPA, 1);
    assertStatus(td.promote(GPA, 1, 0).rax, TdxStatus.TDX_TLB_TRACKING_NOT_DONE | RCX);
  }

  @Test
  void promote_ofUnequalChildren_isInvalidConditions() {
    demote();
    td.run(ScriptedGuest.accept(GPA + 0x3000, 0));
    td.blockAndTrack(GPA, 1);
    SeamRegs mixed = td.promote(GPA, 1, 0);
    assertStatus(mixed.rax, TdxStatus.TDX_EPT_INVALID_PROMOTE_CONDITIONS | RCX);
    assertThat(mixed.rdx).isEqualTo(0x8101);
  }

  @Test
  void promote_overHoleOrBlockedChild_isInvalidConditions() {
    demote();
    td.blockAndTrack(GPA + 0x1FF000, 0);
    td.blockAndTrack(GPA, 1);
    long wrong = TdxStatus.TDX_EPT_INVALID_PROMOTE_CONDITIONS | RCX;
    assertStatus(td.promote(GPA, 1, 0).rax, wrong);
    assertStatus(td.unblock(GPA, 1), 0);
    assertStatus(td.remove(GPA + 0x1FF000, 0).rax, 0);
    td.blockAndTrack(GPA, 1);
    assertStatus(td.promote(GPA, 1, 0).rax, wrong);
  }

  @Test
  void promote_ofPagesThatStartInTheMiddle_isInvalidConditions() {
    long gpa = GPA + TestHost.MIB_2;
    td.augSmall(gpa);
    td.blockAndTrack(gpa, 1);
    assertStatus(td.promote(gpa, 1, 0).rax, TdxStatus.TDX_EPT_INVALID_PROMOTE_CONDITIONS | RCX);
  }

  @Test
  void promote_withLockedChild_isInvalidConditions_andHostPriorityIsIgnored() {
    demote();
    SeptSlot child = module.state().td(td.tdr).sept().walk(GPA + 0x1000, 0);
    child.refuseHost();
    td.blockAndTrack(GPA, 1);
    child.tryLockByHost();
    assertStatus(td.promote(GPA, 1, 0).rax, TdxStatus.TDX_EPT_INVALID_PROMOTE_CONDITIONS | RCX);
    child.unlock();
    child.refuseHost();
    assertStatus(td.promote(GPA, 1, 0).rax, 0);
  }

  @Test
  void promote_interrupted_isRestartable_inEveryVersion() {
    demote();
    td.blockAndTrack(GPA, 1);
    SeamRegs regs = td.promoteRegs(GPA, 1, 0);
    host.call(regs, new ScriptedGuest());
    assertStatus(regs.rax, TdxStatus.TDX_INTERRUPTED_RESTARTABLE);
    assertThat(regs.rcx).isEqualTo(GPA | 1);
    assertThat(regs.rdx).isEqualTo(td.tdr);
    assertStatus(td.promote(GPA, 1, 0).rax, 0);
  }

  @Test
  void promote_withBusyPamtEntry_isBusyWithoutEntryInfo() {
    SeamRegs demoted = demote();
    td.blockAndTrack(GPA, 1);
    Pamt pamt = module.state().pamt();
    for (PamtEntry entry : List.of(pamt.entry(demoted.r8, 0), pamt.entry(hpa, 1))) {
      entry.tryLock(LockMode.SHARED);
      SeamRegs busy = td.promote(GPA, 1, 0);
      assertThat(List.of(busy.rax, busy.rcx, busy.rdx))
          .containsExactly(TdxStatus.TDX_OPERAND_BUSY | RCX, 0L, 0L);
      entry.unlock(LockMode.SHARED);
    }
  }

  @Test
  void promote_beforeFinalize_needsNoBlock() {
    TestTd building = host.createTd();
    building.augLarge(GPA);
    assertStatus(building.demote(GPA).rax, 0);
    assertStatus(building.promote(GPA, 1, 0).rax, 0);
  }

  @Test
  void promote_intoPageThatPamtSaysIsInUse_isFatal() {
    demote();
    td.blockAndTrack(GPA, 1);
    PamtEntry node = module.state().pamt().entry(hpa, 1);
    long[] pair = {node.pairPage(0), node.pairPage(1)};
    node.assign(PageType.REG, td.tdr);
    host.shareModule();
    assertThatThrownBy(() -> td.promote(GPA, 1, 0)).hasMessage("PROMOTE into a page that is REG");
    node.attachPair(pair[0], pair[1], 512);
  }

  private SeamRegs demote() {
    td.blockAndTrack(GPA, 1);
    return host.mustCall(td.demoteRegs(GPA));
  }

  private void acceptAll() {
    td.run(
        LongStream.range(0, 512)
            .mapToObj(i -> ScriptedGuest.accept(GPA + i * 4096, 0))
            .toArray(GuestInstruction[]::new));
  }
}
