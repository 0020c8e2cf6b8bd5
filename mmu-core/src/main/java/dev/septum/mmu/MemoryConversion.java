package dev.septum.mmu;

import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;

/**
 * How a VMM converts memory: its attributes, then what was behind it ({@code kvm_convert_memory}).
 */
public final class MemoryConversion {

  private MemoryConversion() {}

  /**
   * Makes frames private or shared and gives back what was behind them. An error leaves the memory
   * as it was. No lock held.
   *
   * @param user the VMM's memory behind the VM's slots
   * @return EINVAL if there is no memory at the range's start
   */
  public static Errno convert(KvmMmu mmu, AnonymousMemory user, GfnRange range, boolean toPrivate) {
    if (mmu.memslots().find(range.start()) == null) {
      return Errno.EINVAL;
    }
    Errno error = mmu.memory().setAttributes(range, toPrivate);
    for (Memslot slot : mmu.memslots().all()) {
      GfnRange part = slot.gfns().intersect(range);
      GuestMemfd file = slot.gmem();
      if (error.isError()) {
        return error;
      }
      if (!part.isEmpty() && file != null) {
        error = giveBack(user, slot, file, part, toPrivate);
      }
    }
    return error;
  }

  private static Errno giveBack(
      AnonymousMemory user, Memslot slot, GuestMemfd file, GfnRange part, boolean toPrivate) {
    if (toPrivate) {
      user.discard(slot.hva(part.start()), part.pages() << 12);
      return Errno.OK;
    }
    long offset = slot.gmemIndex(part.start());
    return file.punchHole(offset, offset + part.pages());
  }
}
