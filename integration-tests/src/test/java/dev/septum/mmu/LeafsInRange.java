package dev.septum.mmu;

import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.List;

/** The leafs of a part of a VM's memory, where {@link MmuView} has those of all of it. */
public final class LeafsInRange {

  private LeafsInRange() {}

  /** The leafs of the mirror roots that cover a frame of the range, lowest gfn first. */
  public static List<MappedLeaf> mirror(KvmMmu mmu, GfnRange range) {
    return leafs(mmu, RootKind.MIRROR, range);
  }

  /** The same of the direct roots. */
  public static List<MappedLeaf> direct(KvmMmu mmu, GfnRange range) {
    return leafs(mmu, RootKind.DIRECT, range);
  }

  private static List<MappedLeaf> leafs(KvmMmu mmu, RootKind kind, GfnRange range) {
    SpteFormat format = mmu.format();
    List<MappedLeaf> leafs = new ArrayList<>();
    for (MmuPage root : mmu.roots().all()) {
      if (RootKind.of(root) != kind) {
        continue;
      }
      TdpIter iter = new TdpIter(mmu, root, PageLevel.LEVEL_4K, range.start(), range.end());
      for (; iter.isValid(); iter.next()) {
        long spte = iter.oldSpte();
        if (format.isPresentLeaf(spte, iter.level())) {
          leafs.add(new MappedLeaf(iter.gfn(), iter.level(), format.pfn(spte), spte));
        }
      }
    }
    return leafs;
  }
}
