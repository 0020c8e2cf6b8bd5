package dev.septum.lab.defects;

import static dev.septum.lab.defects.Bench.GFN;
import static java.util.Objects.requireNonNull;

import dev.septum.kvm.PageLevel;
import dev.septum.mmu.Memslot;
import dev.septum.tdx.guest.AcceptMemory;

/** D9: a fault that meets a huge mirror leaf is told to try again, for ever. */
final class SharedSplitLoops implements Demonstration {

  @Override
  public void run(Laboratory lab) {
    Bench bench = lab.packed();
    long gfn = GFN + 1;
    Memslot slot = requireNonNull(bench.kvm().mmu().memslots().find(gfn));
    lab.protocol().step("the guest touches gfn 0x%x, the host maps a 2M leaf", gfn);
    lab.protocol().step("2M mappings become forbidden there, and nothing splits the leaf");
    lab.protocol().step("the guest accepts gfn 0x%x at 4K", gfn);
    boolean ended =
        bench.run(
            new Interrupted(
                new AcceptMemory(gfn << 12, (gfn + 1) << 12, AcceptMemory.Order.TOUCH_FIRST),
                () -> slot.setGuestInhibit(gfn, PageLevel.LEVEL_2M)));
    bench.compare(gfn);
    lab.protocol()
        .partedIf(
            !ended, "the read lock does not allow the split, and nobody takes the write lock");
  }
}
