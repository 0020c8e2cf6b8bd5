package dev.septum.lab.defects;

import static dev.septum.lab.defects.Bench.GFN;

import dev.septum.kvm.Breach;
import dev.septum.mmu.KvmMmu;
import dev.septum.tdx.module.SeamcallLeaf;

/** D8: a table without an external page runs into KVM_BUG_ON, and goes on to the backend. */
final class SplitWithoutPage implements Demonstration {

  @Override
  public void run(Laboratory lab) {
    Bench bench = lab.packed();
    bench.acceptLeaf();
    bench.plantBug(KvmMmu.LOST_EXTERNAL_SPT, "mirror table without an external page");
    bench.share(GFN + 0x10, GFN + 0x20);
    // What a backend throws here is a fault on a wild address there.
    Breach oops = bench.kvm().breach();
    if (oops != null) {
      lab.protocol().observed("the kernel oopses: %s", oops.text());
    }
    long blocks = bench.kvm().tdxHost().module().callsOf(SeamcallLeaf.TDH_MEM_RANGE_BLOCK);
    lab.protocol().observed("TDH_MEM_RANGE_BLOCK was called %d time(s)", blocks);
    lab.protocol().partedIf(blocks > 0, "the backend splits a leaf for a page that is not there");
    lab.protocol().partedIf(oops != null, "the backend takes the missing page for one");
    bench.compare(GFN + 0x30);
  }
}
