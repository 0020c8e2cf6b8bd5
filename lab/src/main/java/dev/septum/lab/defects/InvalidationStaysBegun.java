package dev.septum.lab.defects;

import static dev.septum.lab.defects.Bench.GFN;

import dev.septum.kernel.PageOwner;
import dev.septum.mmu.SplitDesign;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.guest.AcceptMemory;

/** D4: the error path of KVM_SET_MEMORY_ATTRIBUTES jumps over the end of its invalidation. */
final class InvalidationStaysBegun implements Demonstration {

  /** D1 hides the error; once it is returned, D4 shows. */
  @Override
  public TdxDesign posted() {
    return TdxDesign.POSTED_V3.withMmu(
        SplitDesign.POSTED_V3.withErrors(SplitDesign.Errors.RETURNED));
  }

  @Override
  public void run(Laboratory lab) {
    Bench bench = lab.packed();
    bench.acceptLeaf();
    bench.exhaust(PageOwner.PAMT_CACHE);
    bench.share(GFN + 0x10, GFN + 0x300);
    long next = GFN + 0x200;
    lab.protocol().step("the guest accepts gfn 0x%x, which is in that range and not mapped", next);
    boolean ended =
        bench.run(new AcceptMemory(next << 12, (next + 1) << 12, AcceptMemory.Order.ACCEPT_FIRST));
    lab.protocol()
        .partedIf(!ended, "the fault waits for the end of an invalidation that nobody will end");
  }
}
