package dev.septum.lab.defects;

import static dev.septum.lab.defects.Bench.GFN;

import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxStatus;

/** D2: the retry of DEMOTE wants a second pair, and the cache was filled for one. */
final class BusyDrainsCache implements Demonstration {

  @Override
  public void run(Laboratory lab) {
    Bench bench = lab.scattered();
    bench.acceptLeaf();
    bench.refuse(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, TdxStatus.TDX_OPERAND_BUSY);
    bench.share(GFN + 0x10, GFN + 0x20);
    lab.protocol().observed("the split cache has %d pages left", bench.kvm().splitCacheCount());
    lab.protocol()
        .partedIf(bench.kvm().isBugged(), "a BUSY that was gone at the second try bugs the VM");
    bench.compare(GFN + 0x30);
  }
}
