package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.LockMode;
import java.util.Collections;
import org.junit.jupiter.api.Test;

/** What the software in a TD meets: ACCEPT in all outcomes, faults, #VE, VMCALL, interrupts. */
final class GuestTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;
  private static final long SHARED = 1L << 47;

  private final TestTd td = host.runnableTd();

  @Test
  void accept_ofLargePage_mapsIt() {
    long hpa = td.augLarge(GPA);
    assertThat(td.run(ScriptedGuest.accept(GPA, 1)).outcomes).containsExactly(status(0));
    assertThat(td.read(GPA, 1).rcx).isEqualTo(0x80000000000004F7L | hpa);
    assertThat(td.read(GPA, 1).rdx).isEqualTo(0x0401);
  }

  @Test
  void accept_again_isAlreadyAcceptedAtTheLevelMet() {
    td.augLarge(GPA);
    ScriptedGuest guest =
        td.run(
            ScriptedGuest.accept(GPA, 1),
            ScriptedGuest.accept(GPA, 1),
            ScriptedGuest.accept(GPA + 4096, 0));
    long again = TdxStatus.TDX_PAGE_ALREADY_ACCEPTED | 1;
    assertThat(guest.outcomes).containsExactly(status(0), status(again), status(again));
  }

  @Test
  void accept_ofIllegalGpa_isOperandInvalid() {
    ScriptedGuest guest =
        td.run(
            ScriptedGuest.accept(GPA + 4096, 1),
            ScriptedGuest.accept(GPA | SHARED, 0),
            ScriptedGuest.accept(GPA, 2));
    assertThat(guest.outcomes)
        .hasSize(3)
        .containsOnly(status(TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX));
  }

  @Test
  void accept_whereNothingIs_exitsWithTheLevelMet() {
    SeamRegs exit = td.run(ScriptedGuest.accept(GPA, 1)).exit;
    // Requested level 1, met a FREE entry at level 3.
    assertExit(exit, 2, (1L | 3 << 3) << 32 | 1, GPA);
    td.addTables(GPA, 1);
    assertExit(td.run(ScriptedGuest.accept(GPA, 1)).exit, 2, (1L | 1 << 3) << 32 | 1, GPA);
  }

  @Test
  void accept_ofBlockedPage_exitsWithItsState() {
    td.augLarge(GPA);
    td.block(GPA, 1);
    long info = 1L | 1 << 3 | 3 << 6 | 1 << 14;
    assertExit(td.run(ScriptedGuest.accept(GPA, 1)).exit, 2, info << 32 | 1, GPA);
  }

  @Test
  void accept_belowBlockedTable_exitsAtTheTable() {
    td.augSmall(GPA);
    td.block(GPA, 1);
    long info = 0L | 1 << 3 | 0x81 << 6;
    assertExit(td.run(ScriptedGuest.accept(GPA, 0)).exit, 2, info << 32 | 1, GPA);
    assertThat(td.run(ScriptedGuest.accept(GPA, 1)).outcomes)
        .containsExactly(status(TdxStatus.TDX_PAGE_SIZE_MISMATCH | 1));
  }

  @Test
  void acceptExit_reExecutesOnceTheHostHelped() {
    ScriptedGuest guest = td.run(ScriptedGuest.accept(GPA, 1));
    assertThat(guest.outcomes).isEmpty();
    td.augLarge(GPA);
    assertThat(td.enter(guest).rax).isEqualTo(1);
    assertThat(guest.outcomes).containsExactly(status(0));
  }

  @Test
  void accept_interrupted_keepsItsProgress() {
    td.augLarge(GPA);
    CountdownProcessor processor = new CountdownProcessor(100);
    ScriptedGuest guest = new ScriptedGuest(ScriptedGuest.accept(GPA, 1));
    module.attachGuest(td.vcpu(), guest);
    SeamRegs regs = SeamRegs.leaf(SeamcallLeaf.TDH_VP_ENTER).rcx(td.vcpu());
    module.seamcall(regs, processor);
    assertThat(regs.rax).isEqualTo(1);
    assertThat(guest.outcomes).isEmpty();
    SeptSlot slot = module.state().td(td.tdr).sept().walk(GPA, 1);
    assertThat(SeptEntry.acceptCounter(slot.entry(), 1)).isEqualTo(100);
    assertThat(module.view().violations()).isEmpty();
    td.enter(guest);
    assertThat(guest.outcomes).containsExactly(status(0));
  }

  @Test
  void block_forgetsAcceptProgress() {
    acceptPartOf(GPA);
    td.block(GPA, 1);
    SeptSlot slot = module.state().td(td.tdr).sept().walk(GPA, 1);
    assertThat(SeptEntry.acceptCounter(slot.entry(), 1)).isZero();
  }

  @Test
  void access_toPendingPage_exitsWithoutVe() {
    td.augLarge(GPA);
    SeamRegs exit = td.run(ScriptedGuest.write(GPA + 0x1234)).exit;
    assertExit(exit, 2, 6, GPA + 0x1000);
  }

  @Test
  void access_toPendingPage_isVeWhereTheTdWantsIt() {
    TestTd other = host.runnableTd(TdParams.defaults().withAttributes(0));
    other.augLarge(GPA);
    ScriptedGuest guest = other.run(ScriptedGuest.write(GPA + 0x1234));
    assertThat(guest.outcomes)
        .containsExactly(new GuestOutcome.VirtualizationException(GPA + 0x1234, 2));
    assertThat(guest.exit.rax).isEqualTo(1);
  }

  @Test
  void access_toFreeOrBlockedPage_exitsWithoutType() {
    assertExit(td.run(ScriptedGuest.read(GPA + 8)).exit, 1, 0, GPA);
    td.augLarge(GPA);
    td.run(ScriptedGuest.accept(GPA, 1));
    td.block(GPA, 1);
    assertExit(td.run(ScriptedGuest.read(GPA + 8)).exit, 1, 0, GPA);
  }

  @Test
  void access_toAcceptedPage_goesThrough() {
    td.augLarge(GPA);
    ScriptedGuest guest = td.run(ScriptedGuest.accept(GPA, 1), ScriptedGuest.write(GPA + 0x5008));
    assertThat(guest.outcomes).containsExactly(status(0), new GuestOutcome.Done());
  }

  @Test
  void access_toSharedGpa_isTheHostsOwnBusiness() {
    ScriptedGuest guest = td.run(ScriptedGuest.write(SHARED | GPA | 0x10));
    assertExit(guest.exit, 2, 0, SHARED | GPA | 0x10);
    guest.sharedPages.add(GPA);
    td.enter(guest);
    assertThat(guest.outcomes).containsExactly(new GuestOutcome.Done());
  }

  @Test
  void vmcall_carriesRegistersBothWays() {
    ScriptedGuest guest = td.run(new GuestInstruction.Vmcall(0, 0x10001, GPA, 4096, 5, 6));
    SeamRegs exit = guest.exit;
    assertThat(exit.rax).isEqualTo(77);
    assertThat(exit.rcx).isEqualTo(0xFC00);
    assertThat(exit.r11).isEqualTo(0x10001);
    assertThat(exit.r12).isEqualTo(GPA);
    assertThat(exit.r13).isEqualTo(4096);
    assertThat(guest.outcomes).isEmpty();
    SeamRegs back = SeamRegs.leaf(SeamcallLeaf.TDH_VP_ENTER).rcx(td.vcpu()).r10(1).r11(GPA + 4096);
    module.seamcall(back, guest);
    assertThat(guest.outcomes)
        .containsExactly(new GuestOutcome.VmcallReturned(1, GPA + 4096, 0, 0, 0, 0));
  }

  @Test
  void enter_beforeFinalizeOrWithoutInit_isRefused() {
    TestTd building = host.createTd();
    building.addVcpu();
    assertStatus(building.enter(new ScriptedGuest()).rax, TdxStatus.TDX_OP_STATE_INCORRECT | 1);
    assertStatus(
        host.call(SeamcallLeaf.TDH_VP_ENTER, td.tdr, 0).rax,
        TdxStatus.TDX_PAGE_METADATA_INCORRECT | OperandId.RCX);
  }

  @Test
  void enter_ofFlushedVcpu_associatesItAgain() {
    host.mustCall(SeamcallLeaf.TDH_VP_FLUSH, td.vcpu(), 0);
    assertThat(td.enter(new ScriptedGuest()).rax).isEqualTo(1);
    assertStatus(
        host.call(SeamcallLeaf.TDH_MNG_VPFLUSHDONE, td.tdr, 0).rax, TdxStatus.TDX_FLUSHVP_NOT_DONE);
  }

  @Test
  void manyFaultsAtOneRip_makeTheEntryNeedTheTree() {
    ScriptedGuest guest = td.run(ScriptedGuest.read(GPA));
    Collections.nCopies(6, guest).forEach(td::enter);
    HostPriorityLock tree = module.state().td(td.tdr).treeLock();
    tree.tryLock(LockMode.EXCLUSIVE);
    assertStatus(td.enter(guest).rax, TdxStatus.TDX_OPERAND_BUSY | OperandId.SEPT_TREE);
    tree.unlock(LockMode.EXCLUSIVE);
    td.augLarge(GPA);
    td.run(ScriptedGuest.accept(GPA, 1));
    tree.tryLock(LockMode.EXCLUSIVE);
    assertThat(td.run(ScriptedGuest.read(GPA)).outcomes).containsExactly(new GuestOutcome.Done());
    tree.unlock(LockMode.EXCLUSIVE);
  }

  private void acceptPartOf(long gpa) {
    td.augLarge(gpa);
    module.attachGuest(td.vcpu(), new ScriptedGuest(ScriptedGuest.accept(gpa, 1)));
    module.seamcall(
        SeamRegs.leaf(SeamcallLeaf.TDH_VP_ENTER).rcx(td.vcpu()), new CountdownProcessor(7));
  }

  private static GuestOutcome status(long rax) {
    return new GuestOutcome.Status(rax);
  }

  private static void assertExit(SeamRegs exit, long rcx, long rdx, long r8) {
    assertThat(String.format("%d rcx=%x rdx=%x r8=%x", exit.rax, exit.rcx, exit.rdx, exit.r8))
        .isEqualTo(String.format("48 rcx=%x rdx=%x r8=%x", rcx, rdx, r8));
    assertThat(exit.r9).isZero();
  }

  /** A processor whose interrupt arrives at the n-th look. */
  private static final class CountdownProcessor implements LogicalProcessor {

    private int looks;

    CountdownProcessor(int looks) {
      this.looks = looks;
    }

    @Override
    public boolean isInterruptPending() {
      return looks-- <= 0;
    }

    @Override
    public boolean isSharedMapped(long gpaWithoutSharedBit, AccessKind kind) {
      return false;
    }
  }
}
