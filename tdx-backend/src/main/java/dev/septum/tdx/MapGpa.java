package dev.septum.tdx;

import dev.septum.tdx.module.SeamRegs;
import org.jspecify.annotations.Nullable;

/**
 * MapGPA on its way to user space, piece by piece ({@code tdx_map_gpa}).
 *
 * <p>Pieces start at the guest's own address, not at a 2 MiB boundary, so that an unaligned range
 * cuts one leaf for each piece.
 */
final class MapGpa {

  private final VcpuTdx vcpu;
  private boolean pending;
  private boolean toPrivate;
  private long next;
  private long end;
  private int lastResult;

  MapGpa(VcpuTdx vcpu) {
    this.vcpu = vcpu;
  }

  boolean isPending() {
    return pending;
  }

  /** A new call: the first piece for user space, or null if it was answered at once. */
  @Nullable RunExit start(SeamRegs regs) {
    long sharedBit = vcpu.td().sharedBit();
    long gpa = regs.r12 & ~sharedBit;
    long size = regs.r13;
    toPrivate = (regs.r12 & sharedBit) == 0;
    vcpu.td().counters().increment(TdxCounter.MAP_GPA_CALLS);
    if (gpa + size <= gpa || gpa < 0 || gpa + size > sharedBit) {
      regs.r10 = Vmcalls.INVALID_OPERAND;
      return null;
    }
    if (gpa % 4096 != 0 || size % 4096 != 0) {
      regs.r10 = Vmcalls.ALIGN_ERROR;
      return null;
    }
    pending = true;
    lastResult = 0;
    next = gpa;
    end = gpa + size;
    return piece();
  }

  void complete(int result) {
    lastResult = result;
  }

  /** After a piece: the next one, or null with the answer for the guest in {@code regs}. */
  @Nullable RunExit next(SeamRegs regs) {
    if (lastResult != 0) {
      pending = false;
      regs.r10 = Vmcalls.INVALID_OPERAND;
      regs.r11 = next | (toPrivate ? 0 : vcpu.td().sharedBit());
      return null;
    }
    next = Math.min(end, next + vcpu.td().mapGpaMaxLen());
    if (next < end) {
      return piece();
    }
    pending = false;
    regs.r10 = Vmcalls.SUCCESS;
    return null;
  }

  private RunExit piece() {
    vcpu.td().counters().increment(TdxCounter.MAP_GPA_CHUNKS);
    return new RunExit.MapGpa(next, Math.min(vcpu.td().mapGpaMaxLen(), end - next), toPrivate);
  }
}
