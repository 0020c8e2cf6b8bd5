package dev.septum.mmu;

import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmType;
import dev.septum.mmu.SplitDesign.AttributeChange;
import dev.septum.mmu.SplitDesign.FailedChange;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** The ioctls that shape a VM's memory. Each takes slots_lock; no lock held on entry. */
public final class VmMemory {

  private static final Set<GfnKind> BOTH = EnumSet.allOf(GfnKind.class);
  private static final PageLevel[] HUGE_LEVELS = {PageLevel.LEVEL_2M, PageLevel.LEVEL_1G};

  /** {@code KVM_MEM_MAX_NR_PAGES}: pages that one slot may have. */
  private static final long MAX_PAGES = (1L << 31) - 1;

  /** {@code KVM_MEMORY_ATTRIBUTE_PRIVATE}. */
  private static final long ATTRIBUTE_PRIVATE = 8;

  private final KvmMmu mmu;
  private final Kvm kvm;

  /** {@code KVM_X86_QUIRK_SLOT_ZAP_ALL}: deleting or moving a slot zaps everything. */
  private volatile boolean slotZapAll = true;

  VmMemory(KvmMmu mmu) {
    this.mmu = mmu;
    this.kvm = mmu.kvm();
  }

  /**
   * Creates a guest_memfd of that many frames ({@code KVM_CREATE_GUEST_MEMFD}).
   *
   * @param folioLevel 2M to back it with huge folios where they can be had, 4K for single pages
   */
  public GuestMemfd createGuestMemfd(long frames, PageLevel folioLevel) {
    return new GuestMemfd(kvm.kernel(), kvm.pages(), frames, folioLevel);
  }

  /**
   * Deleting or moving a slot zaps that slot only from now on ({@code KVM_CAP_DISABLE_QUIRKS2} with
   * {@code KVM_X86_QUIRK_SLOT_ZAP_ALL}).
   */
  public void disableQuirkSlotZapAll() {
    slotZapAll = false;
  }

  /**
   * {@link #setRegion} in bytes, as user space has it.
   *
   * @return EINVAL as well for what is no multiple of 4096
   */
  public Errno setRegion(
      int slot, int flags, long gpa, long size, long hva, @Nullable GuestMemfd gmem, long offset) {
    return ((gpa | size | hva | offset) & 4095) != 0 || size < 0
        ? Errno.EINVAL
        : setRegion(
            new MemoryRegion(slot, gpa >>> 12, size >>> 12, hva, flags, gmem, offset >>> 12));
  }

  /**
   * {@link #setAttributes} in bytes, as user space has it.
   *
   * @param attributes 8 for private, 0 for shared
   * @return EINVAL as well for other attributes, and for what is no multiple of 4096
   */
  public Errno setAttributes(long gpa, long size, long attributes) {
    boolean possible =
        ((gpa | size) & 4095) == 0
            && gpa >= 0
            && gpa + size > gpa
            && (attributes & ~ATTRIBUTE_PRIVATE) == 0;
    return possible
        ? setAttributes(GfnRange.ofPages(gpa >>> 12, size >>> 12), attributes != 0)
        : Errno.EINVAL;
  }

  /**
   * Creates, moves or deletes a memslot, or changes its flags ({@code
   * KVM_SET_USER_MEMORY_REGION2}).
   *
   * @return EINVAL for a region that cannot be, EEXIST if it overlaps another
   */
  public Errno setRegion(MemoryRegion region) {
    return mmu.withSlotsLock(() -> kvm.isBugged() ? Errno.EIO : setRegionLocked(region));
  }

  private Errno setRegionLocked(MemoryRegion region) {
    if (!hasPossibleFlags(region) || !mmu.memslots().isPossibleId(region.slot())) {
      return Errno.EINVAL;
    }
    Memslot old = mmu.memslots().byId(region.slot());
    if (region.pages() == 0) {
      if (old == null) {
        return Errno.EINVAL;
      }
      replace(old, null);
      return Errno.OK;
    }
    if (!isPossible(region) || (old != null && !canReplace(old, region))) {
      return Errno.EINVAL;
    }
    if (old != null && old.region().baseGfn() == region.baseGfn()) {
      if (old.region().flags() != region.flags()) {
        changeFlags(old, region);
      }
      return Errno.OK;
    }
    return createOrMove(old, region);
  }

  private Errno createOrMove(@Nullable Memslot old, MemoryRegion region) {
    GfnRange gfns = GfnRange.ofPages(region.baseGfn(), region.pages());
    if (mmu.memslots().overlapping(region.asId(), gfns).stream().anyMatch(s -> s != old)) {
      return Errno.EEXIST;
    }
    GuestMemfd gmem = region.gmem();
    if (gmem != null && gmem.isBound(mmu, GfnRange.ofPages(region.gmemOffset(), region.pages()))) {
      return Errno.EINVAL;
    }
    replace(old, new Memslot(kvm.kernel(), region, bitmapFor(old, region)));
    return Errno.OK;
  }

  /**
   * {@code check_memory_region_flags}: private memory can be neither logged nor read-only, and
   * where the guest's state is protected nothing is read-only, since KVM could not emulate the
   * write.
   */
  private boolean hasPossibleFlags(MemoryRegion region) {
    int readOnly = kvm.type() == VmType.TDX ? 0 : MemoryRegion.READONLY;
    int possible =
        region.has(MemoryRegion.GUEST_MEMFD) && kvm.type().hasPrivateMemory()
            ? MemoryRegion.GUEST_MEMFD
            : MemoryRegion.LOG_DIRTY_PAGES | readOnly;
    return (region.flags() & ~possible) == 0;
  }

  private boolean isPossible(MemoryRegion region) {
    long last = region.baseGfn() + region.pages() - 1;
    return region.baseGfn() >= 0
        && region.pages() <= MAX_PAGES
        && last >= region.baseGfn()
        && last < mmu.maxGfnPlusOne()
        && (last & mmu.gfnDirectBits()) == 0
        && region.hva() % 4096 == 0
        && gmemFits(region);
  }

  private static boolean gmemFits(MemoryRegion region) {
    GuestMemfd gmem = region.gmem();
    if (!region.has(MemoryRegion.GUEST_MEMFD)) {
      return gmem == null;
    }
    return gmem != null
        && region.gmemOffset() >= 0
        && region.gmemOffset() <= gmem.frames() - region.pages();
  }

  /** Whether a slot may become this: moved, or with other flags. */
  private static boolean canReplace(Memslot old, MemoryRegion region) {
    MemoryRegion before = old.region();
    return !before.has(MemoryRegion.GUEST_MEMFD)
        && !region.has(MemoryRegion.GUEST_MEMFD)
        && before.pages() == region.pages()
        && before.hva() == region.hva()
        && before.has(MemoryRegion.READONLY) == region.has(MemoryRegion.READONLY);
  }

  /** {@code KVM_MR_FLAGS_ONLY}: dirty logging begins or ends. */
  private void changeFlags(Memslot old, MemoryRegion region) {
    Memslot next = new Memslot(old, region, bitmapFor(old, region));
    publish(old, next);
    if (next.isReadOnly()) {
      // It can't become dirty, and was never writable.
      return;
    }
    if (next.isLogging()) {
      mmu.dirtyTracking().logging().enabled(next);
    } else {
      mmu.dirtyTracking().logging().disabled(next);
    }
  }

  private @Nullable DirtyBitmap bitmapFor(@Nullable Memslot old, MemoryRegion region) {
    if (!region.has(MemoryRegion.LOG_DIRTY_PAGES)) {
      return null;
    }
    DirtyBitmap kept = old == null ? null : old.dirtyBitmap();
    return kept == null ? mmu.dirtyTracking().newBitmap(region.pages()) : kept;
  }

  /** Unmaps and removes the old slot, then installs the new one. */
  private void replace(@Nullable Memslot old, @Nullable Memslot next) {
    if (old != null) {
      old.invalidate();
      update(old.asId(), UnaryOperator.identity());
      zapSlot(old);
      GuestMemfd gmem = old.gmem();
      if (gmem != null) {
        gmem.unbind(mmu, old);
      }
    }
    if (next != null) {
      initMixed(next);
      GuestMemfd gmem = next.gmem();
      if (gmem != null) {
        gmem.bind(mmu, next);
      }
    }
    publish(old, next);
  }

  private void publish(@Nullable Memslot old, @Nullable Memslot next) {
    int asId = next != null ? next.asId() : old != null ? old.asId() : 0;
    update(
        asId,
        slots -> {
          List<Memslot> changed = new ArrayList<>(slots);
          changed.remove(old);
          if (next != null) {
            changed.add(next);
          }
          return changed;
        });
  }

  /** Publishes slots; a generation that MMIO SPTEs had before must not make them valid again. */
  private void update(int asId, UnaryOperator<List<Memslot>> change) {
    long generation = mmu.memslots().update(asId, change);
    if (SpteFormat.truncateGeneration(generation) / mmu.addressSpaces() == 0) {
      mmu.zapAllFast();
    }
  }

  private void zapSlot(Memslot slot) {
    if (kvm.type() == VmType.DEFAULT && slotZapAll) {
      mmu.zapAllFast();
      return;
    }
    mmu.withMmuLock(
        () -> {
          if (mmu.unmap(slot.asId(), slot.gfns(), BOTH)) {
            kvm.flushRemoteTlbs();
          }
          return Errno.OK;
        });
  }

  /**
   * Makes frames private or shared ({@code KVM_SET_MEMORY_ATTRIBUTES}). Mappings of the other kind
   * go; private huge leafs that stick out of the range are split first. If a split fails, its error
   * is returned and neither attributes nor mapped pages have changed.
   */
  public Errno setAttributes(GfnRange range, boolean isPrivate) {
    if (kvm.isBugged()) {
      return Errno.EIO;
    }
    if (!kvm.type().hasPrivateMemory() || range.isEmpty() || range.end() > mmu.maxGfnPlusOne()) {
      return Errno.EINVAL;
    }
    mmu.trace().setMemAttributes(range, isPrivate ? ATTRIBUTE_PRIVATE : 0);
    kvm.slotsLock().lock();
    try {
      if (mmu.attributes().isUniform(range, isPrivate)) {
        return Errno.OK;
      }
      List<Memslot> slots = mmu.memslots().overlapping(0, range);
      Errno error = mmu.withMmuLock(() -> unmapOtherKind(slots, range, isPrivate));
      if (!error.isError()) {
        mmu.attributes().set(range, isPrivate);
      }
      if (error.isError()
          && mmu.params().splitDesign().failedChange() == FailedChange.STAYS_BEGUN) {
        return error;
      }
      mmu.withMmuLock(
          () -> {
            mmu.invalidate().end();
            if (!error.isError()) {
              slots.forEach(slot -> updateMixed(slot, slot.gfns().intersect(range)));
            }
            return Errno.OK;
          });
      return error;
    } finally {
      kvm.slotsLock().unlock();
    }
  }

  /** {@code kvm_arch_pre_set_memory_attributes} over all slots. mmu_lock held for write. */
  private Errno unmapOtherKind(List<Memslot> slots, GfnRange range, boolean toPrivate) {
    mmu.invalidate().begin();
    mmu.invalidate().addRange(range);
    for (Memslot slot : slots) {
      addStraddledRanges(slot, slot.gfns().intersect(range));
    }
    Set<GfnKind> kind = EnumSet.of(toPrivate ? GfnKind.SHARED : GfnKind.PRIVATE);
    List<GfnRange> parts = slots.stream().map(slot -> slot.gfns().intersect(range)).toList();
    return mmu.params().splitDesign().attributeChange() == AttributeChange.SPLIT_ALL_THEN_ZAP
        ? splitAllThenZap(parts, kind)
        : splitAndZapEach(parts, kind);
  }

  /** All splits come before the first zap: a split that fails finds every page still mapped. */
  private Errno splitAllThenZap(List<GfnRange> parts, Set<GfnKind> kind) {
    for (GfnRange part : parts) {
      Errno error = splitBeforeZap(part, kind);
      if (error.isError()) {
        return error;
      }
    }
    boolean flush = false;
    for (GfnRange part : parts) {
      flush |= mmu.unmap(0, part, kind);
    }
    if (flush) {
      kvm.flushRemoteTlbs();
    }
    return Errno.OK;
  }

  /**
   * As posted: slot by slot, a negative errno ends it. ONE is taken for "flush wanted": that slot
   * is not zapped, and its attributes change all the same.
   */
  private Errno splitAndZapEach(List<GfnRange> parts, Set<GfnKind> kind) {
    boolean flush = false;
    Errno error = Errno.OK;
    for (GfnRange part : parts) {
      error = splitBeforeZap(part, kind);
      if (error.isError() && error != Errno.ONE) {
        break;
      }
      flush |= error == Errno.ONE || mmu.unmap(0, part, kind);
      error = Errno.OK;
    }
    if (flush) {
      kvm.flushRemoteTlbs();
    }
    return error;
  }

  private Errno splitBeforeZap(GfnRange part, Set<GfnKind> kind) {
    return kind.contains(GfnKind.PRIVATE)
        ? mmu.splitBeforeUnmap(part, SplitCause.MEMORY_ATTRIBUTES)
        : Errno.OK;
  }

  /** Huge pages around the ends of the range may not be mapped until the attributes are stored. */
  private void addStraddledRanges(Memslot slot, GfnRange range) {
    for (PageLevel level : HUGE_LEVELS) {
      for (long gfn : new long[] {range.start(), range.end() - 1}) {
        GfnRange huge = GfnRange.ofPages(level.alignDown(gfn), level.pages());
        if (!range.contains(huge)
            && slot.gfns().contains(huge)
            && !slot.lpage(level).has(gfn, LpageInfo.MIXED)) {
          mmu.invalidate().addRange(huge);
        }
      }
    }
  }

  /** {@code kvm_arch_post_set_memory_attributes}: 2M first, since 1G rests on the same frames. */
  private void updateMixed(Memslot slot, GfnRange range) {
    for (PageLevel level : HUGE_LEVELS) {
      for (long gfn = level.alignDown(range.start()); gfn < range.end(); gfn += level.pages()) {
        updateMixedAt(slot, gfn, level);
      }
    }
  }

  private void initMixed(Memslot slot) {
    if (kvm.type().hasPrivateMemory()) {
      updateMixed(slot, slot.gfns());
    }
  }

  private void updateMixedAt(Memslot slot, long gfn, PageLevel level) {
    if (!slot.gfns().contains(GfnRange.ofPages(gfn, level.pages()))) {
      return;
    }
    if (mmu.attributes().isUniformAt(gfn, level)) {
      slot.lpage(level).clear(gfn, LpageInfo.MIXED);
    } else {
      slot.lpage(level).set(gfn, LpageInfo.MIXED);
    }
  }
}
