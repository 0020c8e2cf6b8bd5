package dev.septum.tdx;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockChecker;
import dev.septum.kernel.LockMode;
import dev.septum.tdx.module.AccessKind;
import dev.septum.tdx.module.GuestInstruction;
import dev.septum.tdx.module.GuestOutcome;
import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdGuest;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** One retry of a SEAMCALL that meets BUSY, with every vCPU out of the guest. */
final class NoVcpusTest extends TdTestCase {

  private final Vmm vmm = boot();
  private final KvmTdx kvm = vmm.kvm();
  private final List<Boolean> flagSeen = new ArrayList<>();

  private SeamRegs answer(long status) {
    flagSeen.add(kvm.isWaitingForSeptZap());
    SeamRegs regs = new SeamRegs();
    regs.rax = status;
    return regs;
  }

  private SeamRegs call(Supplier<SeamRegs> seamcall) {
    kvm.mmuLock().lock(LockMode.EXCLUSIVE);
    try {
      return kvm.noVcpus().call(seamcall);
    } finally {
      kvm.mmuLock().unlock(LockMode.EXCLUSIVE);
    }
  }

  @ParameterizedTest
  @ValueSource(
      longs = {
        TdxStatus.TDX_SUCCESS,
        TdxStatus.TDX_OPERAND_INVALID,
        TdxStatus.TDX_PREVIOUS_TLB_EPOCH_BUSY
      })
  void anythingButOperandBusy_isFinalAndKicksNobody(long status) {
    assertThat(call(() -> answer(status)).rax).isEqualTo(status);
    assertThat(flagSeen).containsExactly(false);
    assertThat(kvm.counters().get(TdxCounter.BUSY_RETRIES)).isZero();
  }

  @Test
  void busy_isDoneAgainWithTheFlagSet_andTheFlagIsClearedAfterwards() {
    List<Long> answers = new ArrayList<>(List.of(TdxStatus.TDX_OPERAND_BUSY | 146L, 0L));
    assertThat(call(() -> answer(answers.remove(0))).rax).isZero();
    assertThat(flagSeen).containsExactly(false, true);
    assertThat(kvm.isWaitingForSeptZap()).isFalse();
    assertThat(kvm.counters().get(TdxCounter.BUSY_RETRIES)).isEqualTo(1);
  }

  @Test
  void busyTwice_isFinal() {
    SeamRegs result = call(() -> answer(TdxStatus.TDX_OPERAND_BUSY));
    assertThat(Seamcalls.isBusy(result)).isTrue();
    assertThat(flagSeen).containsExactly(false, true);
    assertThat(kvm.isWaitingForSeptZap()).isFalse();
  }

  @Test
  void aSecondCallThatThrows_clearsTheFlagToo() {
    assertThatThrownBy(
            () ->
                call(
                    () -> {
                      if (kvm.isWaitingForSeptZap()) {
                        throw new IllegalStateException("broken");
                      }
                      return answer(TdxStatus.TDX_OPERAND_BUSY);
                    }))
        .hasMessage("broken");
    assertThat(kvm.isWaitingForSeptZap()).isFalse();
  }

  @Test
  void withoutTheWriteLock_isRefused() {
    assertThatThrownBy(() -> kvm.noVcpus().call(() -> answer(0)))
        .isInstanceOf(LockChecker.LockViolation.class);
    kvm.mmuLock().lock(LockMode.SHARED);
    assertThatThrownBy(() -> kvm.noVcpus().call(() -> answer(0)))
        .isInstanceOf(LockChecker.LockViolation.class);
    kvm.mmuLock().unlock(LockMode.SHARED);
    assertThat(flagSeen).isEmpty();
  }

  @Test
  void theSecondCall_waitsForARunningVcpuToLeave_andKeepsItOut() {
    accept2M(vmm, GFN, 1);
    LoopingGuest guest = new LoopingGuest();
    VcpuTdx vcpu = vmm.vcpus().get(0);
    vcpu.boot(guest);
    KernelThread runner =
        kernel.spawn("vCPU", () -> assertThat(vcpu.run()).isEqualTo(new RunExit.Halt()));
    guest.firstInstruction.awaitArrival();
    long entries = calls(SeamcallLeaf.TDH_VP_ENTER);
    Gate secondCall = new Gate();
    KernelThread zapper =
        kernel.spawn(
            "zap",
            () ->
                call(
                    () -> {
                      if (!kvm.isWaitingForSeptZap()) {
                        return answer(TdxStatus.TDX_OPERAND_BUSY);
                      }
                      assertThat(view().running(kvm.tdr() << 12)).isZero();
                      secondCall.pass();
                      assertThat(calls(SeamcallLeaf.TDH_VP_ENTER)).isEqualTo(entries);
                      return answer(0);
                    }));
    // The vCPU is between two instructions: it has been asked to leave, and has not left.
    Gate.awaitUntil(() -> vcpu.guestMode().isExitRequested(), "the kick");
    assertThat(flagSeen).containsExactly(false);

    guest.firstInstruction.open();
    secondCall.awaitArrival();
    secondCall.open();
    zapper.join();
    assertThat(flagSeen).containsExactly(false, true);
    assertThat(kvm.counters().get(TdxCounter.KICKS)).isEqualTo(1);

    Gate.awaitUntil(() -> calls(SeamcallLeaf.TDH_VP_ENTER) > entries, "the vCPU to enter again");
    guest.stop = true;
    runner.join();
  }

  /** Reads one page over and over, held at its first instruction until the test lets it go on. */
  private static final class LoopingGuest implements TdGuest {

    final Gate firstInstruction = new Gate();
    volatile boolean stop;
    private boolean started;

    @Override
    public GuestInstruction next() {
      if (!started) {
        started = true;
        firstInstruction.pass();
      }
      return stop
          ? new GuestInstruction.Vmcall(0, Vmcalls.HLT, 0, 0, 0, 0)
          : new GuestInstruction.Access(GFN << 12, AccessKind.READ);
    }

    @Override
    public void retired(GuestInstruction instruction, GuestOutcome outcome) {
      if (instruction instanceof GuestInstruction.Access) {
        assertThat(outcome).isEqualTo(new GuestOutcome.Done());
      }
    }
  }
}
