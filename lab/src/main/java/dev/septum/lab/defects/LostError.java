package dev.septum.lab.defects;

import static dev.septum.lab.defects.Bench.GFN;

import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.tdx.guest.AcceptMemory;

/** D1: a split runs out of memory, and each of its three callers takes the 1 for something else. */
final class LostError implements Demonstration {

  @Override
  public void run(Laboratory lab) {
    attributes(lab, lab.packed());
    hole(lab, lab.packed());
    accept(lab, lab.packed());
  }

  private static void attributes(Laboratory lab, Bench bench) {
    bench.acceptLeaf();
    bench.exhaust(PageOwner.PAMT_CACHE);
    bench.share(0x210, 0x220);
    boolean isPrivate = bench.isPrivate(0x210);
    boolean mapped = bench.septAt(0x210).isPresent();
    lab.protocol()
        .observed(
            "gfn 0x210 counts as %s, the S-EPT %s it privately",
            isPrivate ? "private" : "shared", mapped ? "maps" : "does not map");
    lab.protocol()
        .partedIf(!isPrivate && mapped, "the guest keeps private memory that KVM calls shared");
  }

  private static void hole(Laboratory lab, Bench bench) {
    bench.acceptLeaf();
    bench.exhaust(PageOwner.PAMT_CACHE);
    lab.protocol().step("fallocate(PUNCH_HOLE) of gfns [0x210, 0x220)");
    Errno error = bench.vmm().files().get(0).punchHole(0x210, 0x220);
    boolean there = bench.vmm().files().get(0).pfnAt(0x210) != PageAllocator.NO_PAGE;
    lab.protocol()
        .observed(
            "fallocate returns %s, the page of gfn 0x210 is %s",
            Bench.text(error), there ? "there" : "gone");
    lab.protocol()
        .partedIf(error.code() >= 0 && there, "no error, and nothing was removed from the file");
  }

  private static void accept(Laboratory lab, Bench bench) {
    lab.protocol().step("the guest touches gfn 0x%x, the host maps a 2M leaf", GFN + 1);
    lab.protocol().step("inject: no page for pamt_cache can be allocated from now on");
    lab.protocol().step("the guest accepts gfn 0x%x at 4K", GFN + 1);
    AcceptMemory accept =
        new AcceptMemory((GFN + 1) << 12, (GFN + 2) << 12, AcceptMemory.Order.TOUCH_FIRST);
    boolean ended =
        bench.run(
            new Interrupted(
                accept, () -> bench.pages().faults().failAlways(PageOwner.PAMT_CACHE.tag())));
    lab.protocol()
        .partedIf(
            !ended, "the guest is resumed into the same violation, and user space never told");
  }
}
