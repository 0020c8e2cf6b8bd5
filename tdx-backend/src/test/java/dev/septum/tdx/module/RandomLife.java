package dev.septum.tdx.module;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * Calls that lead a TD from MNG.CREATE to its last PAGE.RECLAIM, again and again; some of them are
 * left out or come at the wrong time.
 */
final class RandomLife {

  private static final long PARAMS = 0x1000;
  private static final long GPA = 0;

  private final List<SeamRegs> course = new ArrayList<>();
  private final Random random;
  private int at;

  RandomLife(TestHost host, int hkid, Random random) {
    this.random = random;
    long tdr = host.controlPage();
    long tdvpr = host.controlPage();
    List<Long> others = new ArrayList<>();
    add(SeamcallLeaf.TDH_MNG_CREATE, tdr, hkid);
    add(SeamcallLeaf.TDH_MNG_KEY_CONFIG, tdr, 0);
    addPages(host, others, SeamcallLeaf.TDH_MNG_ADDCX, 6, tdr);
    add(SeamcallLeaf.TDH_MNG_INIT, tdr, PARAMS);
    add(SeamcallLeaf.TDH_VP_CREATE, tdvpr, tdr);
    addPages(host, others, SeamcallLeaf.TDH_VP_ADDCX, 5, tdvpr);
    add(SeamcallLeaf.TDH_VP_INIT, tdvpr, 0);
    for (int level = 3; level > 0; level--) {
      long table = host.controlPage();
      others.add(table);
      add(SeamcallLeaf.TDH_MEM_SEPT_ADD, GPA | level, tdr).r8(table);
    }
    long page = host.controlPage();
    others.add(page);
    add(SeamcallLeaf.TDH_MEM_PAGE_ADD, GPA, tdr).r8(page);
    add(SeamcallLeaf.TDH_MR_EXTEND, GPA, tdr);
    add(SeamcallLeaf.TDH_MR_FINALIZE, tdr, 0);
    add(SeamcallLeaf.TDH_VP_ENTER, tdvpr, 0);
    add(SeamcallLeaf.TDH_VP_FLUSH, tdvpr, 0);
    add(SeamcallLeaf.TDH_MNG_VPFLUSHDONE, tdr, 0);
    add(SeamcallLeaf.TDH_PHYMEM_CACHE_WB, 0, 0);
    add(SeamcallLeaf.TDH_PHYMEM_CACHE_WB, 1, 0);
    add(SeamcallLeaf.TDH_MNG_KEY_FREEID, tdr, 0);
    add(SeamcallLeaf.TDH_MNG_KEY_RECLAIMID, tdr, 0);
    others.forEach(other -> add(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM, other, 0));
    add(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM, tdvpr, 0);
    add(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM, tdr, 0);
  }

  SeamRegs next() {
    boolean jumps = random.nextInt(64) == 0;
    int chosen = jumps ? random.nextInt(course.size()) : at++ % course.size();
    SeamRegs regs = new SeamRegs();
    regs.copyFrom(course.get(chosen));
    return regs;
  }

  private void addPages(
      TestHost host, List<Long> others, SeamcallLeaf leaf, int count, long owner) {
    for (int i = 0; i < count; i++) {
      long page = host.controlPage();
      others.add(page);
      add(leaf, page, owner);
    }
  }

  private SeamRegs add(SeamcallLeaf leaf, long rcx, long rdx) {
    SeamRegs regs = SeamRegs.leaf(leaf).rcx(rcx).rdx(rdx);
    course.add(regs);
    return regs;
  }
}
