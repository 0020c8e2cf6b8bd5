package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.LockMode;
import org.junit.jupiter.api.Test;

/** Faults without progress: what VP.ENTER does after too many of them. */
final class ZeroStepTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;

  private final TestTd td = host.runnableTd();
  private int fetched;

  @Test
  void sixFaults_areLetGoBy_theSeventhIsTheLastThatIsExecuted() {
    ScriptedGuest guest = counting(ScriptedGuest.read(GPA));
    for (int i = 1; i <= 10; i++) {
      assertViolation(td.enter(guest), GPA);
      assertThat(fetched).isEqualTo(Math.min(i, 7));
    }
  }

  @Test
  void pageThatIsThereAtLast_letsTheVcpuIn() {
    ScriptedGuest guest = armed(ScriptedGuest.accept(GPA, 1));
    td.augLarge(GPA);
    assertThat(td.enter(guest).rax).isEqualTo(1);
    assertThat(guest.outcomes).containsExactly(new GuestOutcome.Status(0));
    assertThat(module.state().vcpu(td.vcpu()).zeroSteps.isArmed()).isFalse();
  }

  @Test
  void blockedPage_isAFaultStill() {
    td.augLarge(GPA);
    td.block(GPA, 1);
    ScriptedGuest guest = armed(ScriptedGuest.accept(GPA, 1));
    int before = fetched;
    SeamRegs repeated = td.enter(guest);
    assertThat(fetched).isEqualTo(before);
    long info = 1L | 1 << 3 | 3 << 6 | 1 << 14;
    assertThat(repeated.rdx).isEqualTo(info << 32 | 1);
  }

  @Test
  void treeThatIsTaken_makesTheEntryBusy() {
    ScriptedGuest guest = armed(ScriptedGuest.read(GPA));
    HostPriorityLock tree = module.state().td(td.tdr).treeLock();
    tree.tryLock(LockMode.EXCLUSIVE);
    assertStatus(td.enter(guest).rax, TdxStatus.TDX_OPERAND_BUSY | OperandId.SEPT_TREE);
    tree.unlock(LockMode.EXCLUSIVE);
    assertViolation(td.enter(guest), GPA);
    tree.tryLock(LockMode.SHARED);
    assertViolation(td.enter(guest), GPA);
    tree.unlock(LockMode.SHARED);
  }

  @Test
  void log_hasRoomFor32() {
    ZeroStepGuard guard = new ZeroStepGuard();
    SecureEpt sept = module.state().td(td.tdr).sept();
    for (int i = 0; i < 6; i++) {
      guard.faulted(violation(0));
    }
    assertThat(guard.isArmed()).isFalse();
    for (int i = 0; i < 40; i++) {
      guard.faulted(violation(i % 33));
    }
    for (int i = 0; i < 32; i++) {
      assertThat(guard.repeated(sept)).isEqualTo(violation(i));
      td.augSmall(GPA + i * TestHost.PAGE);
    }
    assertThat(guard.repeated(sept)).isNull();
    guard.progressed();
    assertThat(guard.isArmed()).isFalse();
  }

  private ScriptedGuest armed(GuestInstruction instruction) {
    ScriptedGuest guest = counting(instruction);
    for (int i = 0; i < 7; i++) {
      td.enter(guest);
    }
    return guest;
  }

  /** The guest of the first vCPU, which notes how often it is asked for an instruction. */
  private ScriptedGuest counting(GuestInstruction instruction) {
    ScriptedGuest guest = new ScriptedGuest(instruction);
    module.attachGuest(
        td.vcpu(),
        new TdGuest() {
          @Override
          public GuestInstruction next() {
            fetched++;
            return guest.next();
          }

          @Override
          public void retired(GuestInstruction retired, GuestOutcome outcome) {
            guest.retired(retired, outcome);
          }
        });
    return guest;
  }

  private static TdExit.Violation violation(int page) {
    return new TdExit.Violation(GPA + page * TestHost.PAGE, 1, 0);
  }

  private static void assertViolation(SeamRegs exit, long gpa) {
    assertThat(String.format("%d rcx=%x rdx=%x r8=%x", exit.rax, exit.rcx, exit.rdx, exit.r8))
        .isEqualTo(String.format("48 rcx=1 rdx=0 r8=%x", gpa));
  }
}
