package dev.septum.lab.defects;

import static dev.septum.lab.defects.Bench.GFN;

import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxStatus;

/** v4-get: PAMT.ADD is refused, the get returns 0, and the split goes on without a pair. */
final class RefusedAddIsSuccess implements Demonstration {

  @Override
  public void run(Laboratory lab) {
    Bench bench = lab.scattered();
    bench.acceptLeaf();
    bench.refuse(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, TdxStatus.TDX_PAGE_NOT_FREE);
    bench.share(GFN + 0x10, GFN + 0x20);
    lab.protocol()
        .observed(
            "TDH_MEM_PAGE_DEMOTE was called %d time(s)",
            bench.kvm().tdxHost().module().callsOf(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE));
    bench
        .dpamt()
        .refcounts()
        .forEach(
            (pfn, count) ->
                lab.protocol()
                    .partedIf(count < 0, "the range at pfn 0x%x has refcount %d", pfn, count));
    bench.compare(GFN + 0x30);
  }
}
