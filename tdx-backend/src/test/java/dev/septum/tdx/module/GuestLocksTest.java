package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

/** A guest and its host at one lock: BUSY, host priority, and when the guest has waited enough. */
final class GuestLocksTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;
  private static final GuestOutcome BUSY =
      new GuestOutcome.Status(TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);

  private final TestTd td = host.runnableTd(TdParams.defaults().withHostPriorityTimeout(20_000));
  private final SeptSlot slot = slot();

  private SeptSlot slot() {
    td.augLarge(GPA);
    return module.state().td(td.tdr).sept().walk(GPA, 1);
  }

  @Test
  void accept_ofEntryThatAnotherGuestHolds_isBusyAndLeavesNoPriority() {
    slot.tryLockByGuest();
    assertThat(td.run(ScriptedGuest.accept(GPA, 1)).outcomes).containsExactly(BUSY);
    slot.unlock();
    assertThat(td.run(ScriptedGuest.accept(GPA, 1)).outcomes)
        .containsExactly(new GuestOutcome.Status(0));
  }

  @Test
  void backOff_endsInAnExitOnceTheTimeIsOver() {
    slot.refuseHost();
    TickingGuest guest = new TickingGuest(6_000);
    module.attachGuest(td.vcpu(), guest);
    SeamRegs exit = enter(guest);
    assertThat(exit.rax).isEqualTo(TdxStatus.TDX_HOST_PRIORITY_BUSY_TIMEOUT);
    assertThat(exit.rcx | exit.rdx | exit.r8).isZero();
    // Stamped at the first of them, 6 ms after each other: the fifth is more than 20 ms later.
    assertThat(guest.busy).isEqualTo(5);
    assertThat(enter(guest).rax).isEqualTo(TdxStatus.TDX_HOST_PRIORITY_BUSY_TIMEOUT);
    assertThat(guest.busy).isEqualTo(10);
  }

  @Test
  void backOff_startsAgainAfterAnyOtherResult() {
    HostPriorityBackOff backOff = new HostPriorityBackOff();
    long waits = TdxStatus.TDX_OPERAND_BUSY_HOST_PRIORITY | OperandId.RCX;
    assertThat(backOff.hasTimedOut(waits, 100, 50)).isFalse();
    assertThat(backOff.hasTimedOut(waits, 149, 50)).isFalse();
    assertThat(backOff.hasTimedOut(TdxStatus.TDX_OPERAND_BUSY | 1, 160, 50)).isFalse();
    assertThat(backOff.hasTimedOut(waits, 170, 50)).isFalse();
    assertThat(backOff.hasTimedOut(waits, 219, 50)).isFalse();
    assertThat(backOff.hasTimedOut(waits, 220, 50)).isTrue();
    assertThat(backOff.hasTimedOut(waits, 221, 50)).isFalse();
  }

  @Test
  void attributes_takeTheEntryLockToo() {
    slot.refuseHost();
    assertThat(
            td.run(new GuestInstruction.AttrRead(GPA), new GuestInstruction.AttrWrite(GPA, 1, 0))
                .outcomes)
        .containsExactly(BUSY, BUSY);
    assertStatus(td.read(GPA, 1).rax, 0);
    assertThat(td.run(new GuestInstruction.AttrWrite(GPA, 1, 0)).outcomes)
        .containsExactly(new GuestOutcome.Status(0));
  }

  private SeamRegs enter(TickingGuest guest) {
    return host.call(SeamRegs.leaf(SeamcallLeaf.TDH_VP_ENTER).rcx(td.vcpu()), guest);
  }

  /** A guest that accepts one page for ever, on a processor whose clock ticks at each attempt. */
  private static final class TickingGuest implements TdGuest, LogicalProcessor {

    private final long tick;
    private long now;
    private int busy;

    TickingGuest(long tick) {
      this.tick = tick;
    }

    @Override
    public GuestInstruction next() {
      return ScriptedGuest.accept(GPA, 1);
    }

    @Override
    public void retired(GuestInstruction instruction, GuestOutcome outcome) {
      assertThat(outcome).isEqualTo(BUSY);
      busy++;
    }

    @Override
    public long microseconds() {
      return now += tick;
    }

    @Override
    public boolean isInterruptPending() {
      return false;
    }

    @Override
    public boolean isSharedMapped(long gpaWithoutSharedBit, AccessKind kind) {
      return false;
    }
  }
}
