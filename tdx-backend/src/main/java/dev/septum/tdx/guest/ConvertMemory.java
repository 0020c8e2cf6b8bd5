package dev.septum.tdx.guest;

import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.Vmcalls;
import dev.septum.tdx.module.GuestInstruction;
import dev.septum.tdx.module.GuestOutcome;

/** Asks the host to make a range shared or private ({@code tdx_enc_status_changed}, MapGPA). */
public final class ConvertMemory implements GuestTask {

  private final long end;
  private final boolean toPrivate;
  private final long sharedBit;
  private long gpa;
  private boolean done;

  private ConvertMemory(long start, long end, boolean toPrivate, long sharedBit) {
    this.gpa = start;
    this.end = end;
    this.toPrivate = toPrivate;
    this.sharedBit = sharedBit;
  }

  /** Makes bytes {@code start} to {@code end} shared; addresses without the shared bit. */
  public static ConvertMemory toShared(long start, long end) {
    return new ConvertMemory(start, end, false, KvmTdx.SHARED_BIT);
  }

  /** Makes bytes {@code start} to {@code end} private; the guest must accept them again. */
  public static ConvertMemory toPrivate(long start, long end) {
    return new ConvertMemory(start, end, true, KvmTdx.SHARED_BIT);
  }

  /** The same in a TD whose GPAs have the shared bit elsewhere. Before it is begun. */
  public ConvertMemory withSharedBit(long bit) {
    return new ConvertMemory(gpa, end, toPrivate, bit);
  }

  @Override
  public boolean isDone() {
    return done;
  }

  @Override
  public GuestInstruction next() {
    return new GuestInstruction.Vmcall(
        0, Vmcalls.MAP_GPA, gpa | (toPrivate ? 0 : sharedBit), end - gpa, 0, 0);
  }

  @Override
  public void retired(GuestOutcome outcome) {
    if (!(outcome instanceof GuestOutcome.VmcallReturned answer)) {
      throw new GuestPanic("MapGPA was not answered: " + outcome);
    }
    if (answer.r10() == Vmcalls.RETRY) {
      gpa = answer.r11() & ~sharedBit;
    } else if (answer.r10() == Vmcalls.SUCCESS) {
      done = true;
    } else {
      throw new GuestPanic(
          "MapGPA of 0x%x failed: 0x%x at 0x%x".formatted(gpa, answer.r10(), answer.r11()));
    }
  }
}
