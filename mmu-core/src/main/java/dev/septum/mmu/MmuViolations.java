package dev.septum.mmu;

import com.google.errorprone.annotations.FormatMethod;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import java.util.ArrayList;
import java.util.List;

/** The invariants of the MMU's tables, each a short sentence when it does not hold. */
final class MmuViolations {

  private final KvmMmu mmu;
  private final SpteFormat format;
  private final List<String> list = new ArrayList<>();

  MmuViolations(KvmMmu mmu) {
    this.mmu = mmu;
    this.format = mmu.format();
  }

  void checkEntry(MmuPage table, long gfn, long spte) {
    PageLevel level = table.role().level();
    if (spte == SpteFormat.FROZEN) {
      add("gfn 0x%x level %d is still frozen", gfn, level.number());
    } else if (format.isPresentTable(spte, level)) {
      checkTable(table, gfn, mmu.childPage(spte));
    } else if (format.isPresent(spte)) {
      checkLeaf(table, gfn, spte);
    }
  }

  private void checkTable(MmuPage parent, long gfn, MmuPage child) {
    if (child.parent() != parent) {
      add("the table at gfn 0x%x does not know its parent", gfn);
    }
    if (!child.role().equals(parent.role().child())) {
      add("the table at gfn 0x%x has role %x", gfn, child.role().word());
    }
    if (child.isMirror() && !child.hasExternalSpt()) {
      add("the mirror table at gfn 0x%x has no external page", gfn);
    }
    PageOwner owner = mmu.kvm().pages().ownerOf(child.sptPfn);
    if (owner != PageOwner.MMU_PAGE_TABLE) {
      add("the table at gfn 0x%x is in a page of %s", gfn, owner.tag());
    }
  }

  private void checkLeaf(MmuPage table, long gfn, long spte) {
    PageLevel level = table.role().level();
    if (!format.isWritabilityConsistent(spte)) {
      add("the leaf at gfn 0x%x has inconsistent write bits: %x", gfn, spte);
    }
    if (!level.isAligned(format.pfn(spte))) {
      add("the leaf at gfn 0x%x has a pfn that its level does not allow: %x", gfn, spte);
    }
    PageOwner owner = mmu.kvm().pages().ownerOf(format.pfn(spte));
    PageOwner wanted = table.isMirror() ? PageOwner.GUEST_MEMORY : PageOwner.USER_MEMORY;
    boolean ordinary = !mmu.kvm().type().hasMirroredTdp();
    GfnRange gfns = GfnRange.ofPages(gfn & ~mmu.gfnDirectBits(), level.pages());
    Memslot slot = mmu.memslots().find(gfns.start());
    boolean isConverted = slot != null && slot.hasConverted(gfns);
    boolean inFile = ordinary || isConverted;
    if (owner != wanted && !(inFile && owner == PageOwner.GUEST_MEMORY)) {
      add("the leaf at gfn 0x%x maps a page of %s", gfn, owner.tag());
    }
    if (table.isMirror() && (isConverted || !mmu.attributes().isUniform(gfns, true))) {
      add("the mirror leaf at gfn 0x%x maps shared frames", gfn);
    }
  }

  void checkCount(VmStat stat, long recount) {
    long counted = mmu.kvm().stats().get(stat);
    if (counted != recount) {
      add("%s is %d, but there are %d", stat, counted, recount);
    }
  }

  void checkQuiet() {
    if (mmu.invalidate().isInProgress()) {
      add("an invalidation was begun and never ended");
    }
  }

  List<String> list() {
    return list;
  }

  @FormatMethod
  private void add(String sentence, Object... arguments) {
    list.add(sentence.formatted(arguments));
  }
}
