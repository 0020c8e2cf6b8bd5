package dev.septum.lab.defects;

import static dev.septum.lab.defects.Bench.GFN;

import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxStatus;

/** D5: DEMOTE is refused when the mirror is split already and the leaf blocked. */
final class LeafStaysBlocked implements Demonstration {

  @Override
  public void run(Laboratory lab) {
    Bench bench = lab.packed();
    bench.acceptLeaf();
    bench.refuse(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, TdxStatus.TDX_OPERAND_INVALID);
    bench.share(GFN + 0x10, GFN + 0x20);
    bench.compare(GFN + 0x30);
  }
}
