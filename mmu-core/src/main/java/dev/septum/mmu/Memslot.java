package dev.septum.mmu;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.SharedWord;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import org.jspecify.annotations.Nullable;

/** A piece of guest memory and what backs it ({@code struct kvm_memory_slot}). */
public final class Memslot {

  private final MemoryRegion region;
  private final GfnRange gfns;
  private final LpageInfo lpage2M;
  private final LpageInfo lpage1G;

  /** Where written pages are recorded; null if the slot does not log, or logs into rings. */
  private final @Nullable DirtyBitmap dirtyBitmap;

  /** Whether the slot is being deleted or moved: faults on it retry. */
  private final SharedWord invalid;

  /** A slot at a place of its own. */
  Memslot(Kernel kernel, MemoryRegion region, @Nullable DirtyBitmap dirtyBitmap) {
    this.region = region;
    this.gfns = GfnRange.ofPages(region.baseGfn(), region.pages());
    this.lpage2M = lpageInfo(kernel, PageLevel.LEVEL_2M);
    this.lpage1G = lpageInfo(kernel, PageLevel.LEVEL_1G);
    this.dirtyBitmap = dirtyBitmap;
    this.invalid = kernel.word(0).named("KVM_MEMSLOT_INVALID");
  }

  /** A slot with other flags in the place of another one ({@code KVM_MR_FLAGS_ONLY}). */
  Memslot(Memslot old, MemoryRegion region, @Nullable DirtyBitmap dirtyBitmap) {
    this.region = region;
    this.gfns = old.gfns;
    this.lpage2M = old.lpage2M;
    this.lpage1G = old.lpage1G;
    this.dirtyBitmap = dirtyBitmap;
    this.invalid = old.invalid;
  }

  private LpageInfo lpageInfo(Kernel kernel, PageLevel level) {
    long mask = level.pages() - 1;
    boolean congruent = ((gfns.start() ^ region.hva() >>> 12) & mask) == 0;
    if (region.gmem() != null) {
      congruent &= ((gfns.start() ^ region.gmemOffset()) & mask) == 0;
    }
    return new LpageInfo(kernel, level, gfns, congruent);
  }

  /** The slot's number. */
  public int id() {
    return region.slot() & 0xffff;
  }

  /** The address space that the slot is in: 1 for SMM, else 0. */
  int asId() {
    return region.asId();
  }

  /** Address space and number in one word, as ioctls and dirty rings have them. */
  int asIdAndId() {
    return region.slot();
  }

  /** The frames that the slot covers. */
  public GfnRange gfns() {
    return gfns;
  }

  /** What user space asked for. */
  public MemoryRegion region() {
    return region;
  }

  /** The guest_memfd that backs private memory, or null. */
  public @Nullable GuestMemfd gmem() {
    return region.gmem();
  }

  /** The frame of the guest_memfd file behind a gfn. */
  long gmemIndex(long gfn) {
    return gfn - gfns.start() + region.gmemOffset();
  }

  /** Whether a gfn's frame was converted to shared in the guest_memfd. May sleep. */
  boolean isConverted(long gfn) {
    return hasConverted(GfnRange.ofPages(gfn, 1));
  }

  /** Whether any of these gfns' frames was converted to shared in the guest_memfd. May sleep. */
  boolean hasConverted(GfnRange range) {
    GuestMemfd gmem = region.gmem();
    return gmem != null
        && gmem.hasShared(new GfnRange(gmemIndex(range.start()), gmemIndex(range.end())));
  }

  /** The gfn behind a frame of the guest_memfd file. */
  long gfnOfGmemIndex(long index) {
    return index - region.gmemOffset() + gfns.start();
  }

  /** The user address behind a gfn, in bytes. */
  long hva(long gfn) {
    return region.hva() + ((gfn - gfns.start()) << 12);
  }

  /** The frames behind user addresses, rounded to whole pages; empty if they lie elsewhere. */
  GfnRange gfnsOfHvas(long startHva, long endHva) {
    long start = Math.max(startHva, region.hva());
    long end = Math.min(endHva, region.hva() + (gfns.pages() << 12));
    return start >= end
        ? new GfnRange(gfns.start(), gfns.start())
        : new GfnRange(gfnOfHva(start), gfnOfHva(end + 4095));
  }

  private long gfnOfHva(long hva) {
    return gfns.start() + ((hva - region.hva()) >> 12);
  }

  LpageInfo lpage(PageLevel level) {
    return level == PageLevel.LEVEL_2M ? lpage2M : lpage1G;
  }

  /** Whether the guest accepted a part of the 2M or 1G range around the gfn. Takes no lock. */
  public boolean hasGuestInhibit(long gfn, PageLevel level) {
    return lpage(level).has(gfn, LpageInfo.GUEST_INHIBIT);
  }

  /** Forbids a mapping of that level around the gfn for ever. mmu_lock held in either mode. */
  public void setGuestInhibit(long gfn, PageLevel level) {
    lpage(level).set(gfn, LpageInfo.GUEST_INHIBIT);
  }

  boolean isReadOnly() {
    return region.has(MemoryRegion.READONLY);
  }

  /** Whether writes are recorded ({@code kvm_slot_dirty_track_enabled}). */
  boolean isLogging() {
    return region.has(MemoryRegion.LOG_DIRTY_PAGES);
  }

  @Nullable DirtyBitmap dirtyBitmap() {
    return dirtyBitmap;
  }

  boolean isInvalid() {
    return invalid.get() == 1;
  }

  void invalidate() {
    invalid.set(1);
  }

  @Override
  public String toString() {
    return "slot %d %s".formatted(id(), gfns);
  }
}
