package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.SharedWord;
import org.junit.jupiter.api.Test;

/** The module's try-locks: who is told BUSY on what, and how host priority keeps guests away. */
final class TryLockTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;

  private final TestTd td = host.runnableTd();
  private final long hpa = td.augLarge(GPA);
  private final Td inside = module.state().td(td.tdr);

  @Test
  void sharedReaders_shutAWriterOut() {
    HostPriorityLock lock = HostPriorityLock.create(kernel);
    assertThat(lock.tryLock(LockMode.SHARED)).isTrue();
    assertThat(lock.tryLock(LockMode.SHARED)).isTrue();
    assertThat(lock.tryLock(LockMode.EXCLUSIVE)).isFalse();
    assertThat(lock.hasHostPriority()).isTrue();
    lock.unlock(LockMode.SHARED);
    lock.unlock(LockMode.SHARED);
    assertThat(lock.tryLock(LockMode.EXCLUSIVE)).isTrue();
    assertThat(lock.hasHostPriority()).isFalse();
    assertThat(lock.tryLock(LockMode.SHARED)).isFalse();
    lock.unlock(LockMode.EXCLUSIVE);
    assertThat(lock.hasHostPriority()).isTrue();
    assertThat(lock.isHeld()).isFalse();
  }

  @Test
  void upgrade_isForTheOnlyReader() {
    HostPriorityLock lock = HostPriorityLock.create(kernel);
    lock.tryLock(LockMode.SHARED);
    lock.tryLock(LockMode.SHARED);
    assertThat(lock.tryUpgrade()).isFalse();
    assertThat(lock.hasHostPriority()).isTrue();
    assertThat(lock.tryUpgrade()).isTrue();
    lock.unlock(LockMode.EXCLUSIVE);
    assertThat(lock.isHeld()).isFalse();
    assertThat(lock.hasHostPriority()).isFalse();
  }

  @Test
  void eachLock_namesItsOperand() {
    assertBusy(inside.treeLock(), LockMode.SHARED, td::block, OperandId.SEPT_TREE);
    assertBusy(inside.opStateLock(), LockMode.EXCLUSIVE, td::block, OperandId.OP_STATE);
    assertBusy(
        module.state().pamt().entry(td.tdr, 0), LockMode.EXCLUSIVE, td::block, OperandId.RDX);
    assertBusy(
        inside.epochs().lock(), LockMode.SHARED, (gpa, level) -> td.track(), OperandId.TD_EPOCH);
    assertBusy(
        inside.epochs().lock(),
        LockMode.EXCLUSIVE,
        (gpa, level) -> td.enter(new ScriptedGuest()).rax,
        OperandId.TD_EPOCH);
  }

  @Test
  void demoteAndAug_shareTheTree_blockDoesNot() {
    assertThat(inside.treeLock().tryLock(LockMode.SHARED)).isTrue();
    assertStatus(td.read(GPA, 1).rax, 0);
    assertStatus(td.block(GPA, 1), TdxStatus.TDX_OPERAND_BUSY | OperandId.SEPT_TREE);
    inside.treeLock().unlock(LockMode.SHARED);
    assertStatus(td.block(GPA, 1), 0);
  }

  @Test
  void lockedEntry_isBusyWithEntryInfo() {
    SeptSlot slot = inside.sept().walk(GPA, 1);
    slot.tryLockByHost();
    SeamRegs regs = td.read(GPA, 1);
    assertStatus(regs.rax, TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);
    assertThat(regs.rcx).isEqualTo(0x80000000000000F0L | hpa);
    assertThat(regs.rdx).isEqualTo(0x0201);
    slot.unlock();
    assertThat(slot.tryLockByGuest()).isEqualTo(SeptSlot.GuestLock.BUSY_HOST_PRIORITY);
    assertStatus(td.read(GPA, 1).rax, 0);
    assertThat(slot.tryLockByGuest()).isEqualTo(SeptSlot.GuestLock.TAKEN);
    assertThat(slot.tryLockByGuest()).isEqualTo(SeptSlot.GuestLock.BUSY);
    slot.unlock();
  }

  @Test
  void guestAcceptAfterHostBusy_isBusyUntilAHostWasServed() {
    SeptSlot slot = inside.sept().walk(GPA, 1);
    slot.tryLockByGuest();
    assertStatus(td.read(GPA, 1).rax, TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);
    slot.unlock();
    assertThat(td.run(ScriptedGuest.accept(GPA, 1)).outcomes)
        .containsExactly(new GuestOutcome.Status(TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX));
    assertStatus(td.read(GPA, 1).rax, 0);
    assertThat(td.run(ScriptedGuest.accept(GPA, 1)).outcomes)
        .containsExactly(new GuestOutcome.Status(0));
  }

  @Test
  void twoThreads_demotingNeighbours_bothSucceed() {
    host.shareModule();
    td.augLarge(GPA + TestHost.MIB_2);
    td.blockAndTrack(GPA, 1);
    td.blockAndTrack(GPA + TestHost.MIB_2, 1);
    SeamRegs one = td.demoteRegs(GPA);
    SeamRegs two = td.demoteRegs(GPA + TestHost.MIB_2);
    KernelThread first = kernel.spawn("first", () -> host.call(one));
    KernelThread second = kernel.spawn("second", () -> host.call(two));
    first.join();
    second.join();
    assertStatus(one.rax, 0);
    assertStatus(two.rax, 0);
    assertThat(module.view().leafs(td.tdr)).hasSize(1024);
  }

  @Test
  void twoThreads_blockingAndReading_leaveOnlyBusy() {
    host.shareModule();
    SharedWord surprises = kernel.word(0);
    KernelThread blocker =
        kernel.spawn(
            "blocker",
            () -> {
              for (int i = 0; i < 2000; i++) {
                boolean block = i % 2 == 0;
                expectBusyOrSuccess(block ? td.block(GPA, 1) : td.track(), surprises);
                if (!block) {
                  expectBusyOrSuccess(td.unblock(GPA, 1), surprises);
                }
              }
            });
    KernelThread reader =
        kernel.spawn(
            "reader",
            () -> {
              for (int i = 0; i < 2000; i++) {
                expectBusyOrSuccess(td.read(GPA, 1).rax, surprises);
              }
            });
    blocker.join();
    reader.join();
    assertThat(surprises.get()).isZero();
    td.track();
    td.unblock(GPA, 1);
    assertThat(inside.sept().walk(GPA, 1).state()).isEqualTo(SeptState.PENDING);
  }

  private static void expectBusyOrSuccess(long status, SharedWord surprises) {
    long code = TdxStatus.code(status);
    boolean expected =
        code == TdxStatus.TDX_SUCCESS
            || code == TdxStatus.TDX_OPERAND_BUSY
            || code == TdxStatus.TDX_GPA_RANGE_ALREADY_BLOCKED
            || code == TdxStatus.TDX_TLB_TRACKING_NOT_DONE
            || code == TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT;
    if (!expected) {
      surprises.addAndGet(1);
    }
  }

  private interface GpaCall {
    long call(long gpa, int level);
  }

  private static void assertBusy(TryLock lock, LockMode mode, GpaCall call, int operand) {
    assertThat(lock.tryLock(mode)).isTrue();
    assertStatus(call.call(GPA, 1), TdxStatus.TDX_OPERAND_BUSY | operand);
    lock.unlock(mode);
  }
}
