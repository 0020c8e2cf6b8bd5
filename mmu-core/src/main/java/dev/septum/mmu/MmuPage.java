package dev.septum.mmu;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.SharedWord;
import org.jspecify.annotations.Nullable;

/** One page table page and what KVM knows of it ({@code struct kvm_mmu_page}). */
final class MmuPage {

  /** The slab of these. */
  static final String HEADER_SLAB = "kvm_mmu_page_header";

  /** pfn of the page that holds the entries. */
  final long sptPfn;

  /** pfn of the page given to the external page table; {@link PageAllocator#NO_PAGE} if none. */
  private long externalSpt = PageAllocator.NO_PAGE;

  private EntryTable spt;
  private volatile MmuRole role = new MmuRole(0);
  private long gfn;
  private @Nullable MmuPage parent;
  private int parentIndex;

  /** Users of a root; null for other tables. */
  private @Nullable SharedWord rootCount;

  /** 1 once the root is invalid; null for other tables. */
  private @Nullable SharedWord invalidRoot;

  private volatile boolean scheduledRootToZap;
  private volatile boolean nxHugePageDisallowed;

  MmuPage(long sptPfn, EntryTable spt) {
    this.sptPfn = sptPfn;
    this.spt = spt;
  }

  /** Says where the page will be linked ({@code tdp_mmu_init_sp}). Not yet visible to others. */
  void init(MmuRole newRole, long firstGfn, @Nullable MmuPage newParent, int index) {
    role = newRole;
    gfn = firstGfn;
    parent = newParent;
    parentIndex = index;
  }

  /** Replaces the entries. Not yet visible to others. */
  void fill(EntryTable entries) {
    spt = entries;
  }

  EntryTable spt() {
    return spt;
  }

  MmuRole role() {
    return role;
  }

  /** First gfn that the table covers. */
  long gfn() {
    return gfn;
  }

  @Nullable MmuPage parent() {
    return parent;
  }

  int parentIndex() {
    return parentIndex;
  }

  boolean isMirror() {
    return role.isMirror();
  }

  long externalSpt() {
    return externalSpt;
  }

  void setExternalSpt(long pfn) {
    externalSpt = pfn;
  }

  /** The backend kept the page for good. */
  void forgetExternalSpt() {
    externalSpt = PageAllocator.NO_PAGE;
  }

  boolean hasExternalSpt() {
    return externalSpt != PageAllocator.NO_PAGE;
  }

  /** Whether the table was made for an instruction fetch that NX huge pages forbid. */
  boolean isNxHugePageDisallowed() {
    return nxHugePageDisallowed;
  }

  void disallowNxHugePage() {
    nxHugePageDisallowed = true;
  }

  void allowNxHugePage() {
    nxHugePageDisallowed = false;
  }

  /** The root that the table hangs below. */
  MmuPage root() {
    MmuPage page = this;
    for (MmuPage above = parent; above != null; above = above.parent) {
      page = above;
    }
    return page;
  }

  void makeRoot(SharedWord count, SharedWord invalid) {
    rootCount = count;
    invalidRoot = invalid;
  }

  /** Whether this is a root that nobody may begin to use. Takes no lock. */
  boolean isInvalidRoot() {
    SharedWord invalid = invalidRoot;
    return invalid != null && invalid.get() == 1;
  }

  /** Users of this root. */
  long rootCount() {
    SharedWord count = rootCount;
    return count == null ? 0 : count.get();
  }

  SharedWord rootCountWord() {
    SharedWord count = rootCount;
    if (count == null) {
      throw new IllegalStateException("not a root: " + this);
    }
    return count;
  }

  /** Makes a root unusable for new users; it is to be zapped. mmu_lock held for write. */
  void scheduleRootToZap() {
    scheduledRootToZap = true;
    role = role.asInvalid();
    if (invalidRoot != null) {
      invalidRoot.set(1);
    }
  }

  boolean clearScheduledRootToZap() {
    boolean was = scheduledRootToZap;
    scheduledRootToZap = false;
    return was;
  }

  /** The page as trace events print it; the byte of "gen" is shared with the zap flag. */
  @Override
  public String toString() {
    return "sp gen %d gfn %x %s root %d sync"
        .formatted(scheduledRootToZap ? 1 : 0, gfn, role.text(), rootCount());
  }
}
