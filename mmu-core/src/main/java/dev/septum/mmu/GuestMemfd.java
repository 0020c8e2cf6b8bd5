package dev.septum.mmu;

import static com.google.common.base.Preconditions.checkArgument;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.Mutex;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.SharedWord;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * A guest_memfd file: the pages behind private memory, in 4 KiB or 2 MiB folios.
 *
 * <p>Offsets are frames. Punching a hole and converting take the file's invalidate_lock and each
 * bound VM's mmu_lock; looking a page up takes neither.
 */
public final class GuestMemfd {

  private static final Set<GfnKind> PRIVATE_ONLY = EnumSet.of(GfnKind.PRIVATE);
  private static final Set<GfnKind> SHARED_ONLY = EnumSet.of(GfnKind.SHARED);

  /** Frames that can be converted: as many as a set of bits has. */
  private static final long MAX_CONVERTED = Integer.MAX_VALUE;

  /**
   * What became of a conversion.
   *
   * @param errorIndex the first frame that was not converted, or -1
   */
  public record Conversion(Errno error, long errorIndex) {}

  /** What a lookup found: the frame, and the largest mapping that its folio allows. */
  record Lookup(long pfn, PageLevel maxLevel, Errno error) {
    static Lookup failed(Errno error) {
      return new Lookup(PageAllocator.NO_PAGE, PageLevel.LEVEL_4K, error);
    }
  }

  private record Binding(KvmMmu mmu, Memslot slot) {}

  /** The 512 frames at one 2 MiB offset of the file: one folio, or single pages. */
  private static final class Block {
    long folio = PageAllocator.NO_PAGE;
    long @Nullable [] pages;

    long allocatedFrames() {
      long[] single = pages;
      return single != null
          ? Arrays.stream(single).filter(pfn -> pfn != PageAllocator.NO_PAGE).count()
          : folio == PageAllocator.NO_PAGE ? 0 : 512;
    }
  }

  private final PageAllocator allocator;
  private final long frames;
  private final PageLevel folioLevel;
  private final Mutex invalidateLock;
  private final Mutex folioLock;
  private final Map<Long, Block> blocks = new HashMap<>();

  /** Frames converted to shared: host and guest use them in place. Under folioLock. */
  private final BitSet shared = new BitSet();

  /** 1 once any frame was: most files need not be asked. */
  private final SharedWord wasConverted;

  /** Who maps which part; read and written under invalidateLock. */
  private final List<Binding> bindings = new ArrayList<>();

  /** Set when the last descriptor went. Under folioLock. */
  private boolean released;

  /**
   * A file without a page ({@code KVM_CREATE_GUEST_MEMFD}); VMs get it with their slots.
   *
   * @param folioLevel 2M to back it with huge folios where they can be had, 4K for single pages
   */
  public GuestMemfd(Kernel kernel, PageAllocator allocator, long frames, PageLevel folioLevel) {
    checkArgument(frames > 0, "a guest_memfd needs at least one frame, not %s", frames);
    checkArgument(
        !folioLevel.isAbove(PageLevel.LEVEL_2M), "folios of level %s do not exist", folioLevel);
    this.allocator = allocator;
    this.frames = frames;
    this.folioLevel = folioLevel;
    this.invalidateLock = kernel.mutex(LockClass.GMEM_INVALIDATE_LOCK);
    this.wasConverted = kernel.word(0).named("gmem_shareability");
    this.folioLock = kernel.mutex(LockClass.GMEM_FOLIO_LOCK);
  }

  /** The file's size in frames. */
  public long frames() {
    return frames;
  }

  /** Gives the file's frames of a slot to a VM. slots_lock held. */
  void bind(KvmMmu mmu, Memslot slot) {
    withInvalidateLock(() -> bindings.add(new Binding(mmu, slot)));
  }

  /** Whether a slot of the VM has one of the frames already. slots_lock of the VM held. */
  boolean isBound(KvmMmu mmu, GfnRange fileFrames) {
    invalidateLock.lock();
    try {
      return bindings.stream()
          .anyMatch(b -> b.mmu == mmu && boundFrames(b.slot).overlaps(fileFrames));
    } finally {
      invalidateLock.unlock();
    }
  }

  private static GfnRange boundFrames(Memslot slot) {
    return GfnRange.ofPages(slot.region().gmemOffset(), slot.gfns().pages());
  }

  /** Undoes {@link #bind}; waits until no hole is being punched. slots_lock held. */
  void unbind(KvmMmu mmu, Memslot slot) {
    withInvalidateLock(() -> bindings.remove(new Binding(mmu, slot)));
  }

  private void withInvalidateLock(Runnable body) {
    invalidateLock.lock();
    try {
      body.run();
    } finally {
      invalidateLock.unlock();
    }
  }

  /**
   * The frame at an offset, allocated if there is none yet ({@code kvm_gmem_get_pfn}); EFAULT
   * outside the file, or when it was released. May sleep.
   */
  Lookup getPfn(long index) {
    if (index < 0 || index >= frames) {
      return Lookup.failed(Errno.EFAULT);
    }
    folioLock.lock();
    try {
      if (released) {
        return Lookup.failed(Errno.EFAULT);
      }
      Block block = blocks.computeIfAbsent(index / 512, i -> new Block());
      if (block.pages == null && block.folio == PageAllocator.NO_PAGE) {
        allocFolio(block, index / 512);
      }
      if (block.folio != PageAllocator.NO_PAGE) {
        // A shared frame is the host's too, so neither it nor its neighbours are mapped huge.
        boolean isMixed = isAnyShared(GfnRange.ofPages(blockStart(index), 512));
        PageLevel maxLevel = isMixed ? PageLevel.LEVEL_4K : PageLevel.LEVEL_2M;
        return new Lookup(block.folio + index % 512, maxLevel, Errno.OK);
      }
      return allocPage(block, (int) (index % 512));
    } finally {
      folioLock.unlock();
    }
  }

  /**
   * The frame at an offset, allocated if need be; for the VMM's own use, as {@code fallocate(2)}
   * is. EINVAL outside the file; otherwise the errors of {@link #getPfn}. May sleep.
   */
  public Errno allocate(long index) {
    return index < 0 || index >= frames ? Errno.EINVAL : getPfn(index).error();
  }

  /** pfn at an offset, or {@link PageAllocator#NO_PAGE} if nothing was allocated there. */
  public long pfnAt(long index) {
    folioLock.lock();
    try {
      Block block = blocks.get(index / 512);
      if (block == null) {
        return PageAllocator.NO_PAGE;
      }
      long[] pages = block.pages;
      return pages != null ? pages[(int) (index % 512)] : block.folio + index % 512;
    } finally {
      folioLock.unlock();
    }
  }

  /** Frames that have a page. */
  public long allocatedFrames() {
    folioLock.lock();
    try {
      return blocks.values().stream().mapToLong(Block::allocatedFrames).sum();
    } finally {
      folioLock.unlock();
    }
  }

  private static long blockStart(long index) {
    return index / 512 * 512;
  }

  /** Whether a frame was converted to shared. May sleep. */
  public boolean isShared(long index) {
    return hasShared(GfnRange.ofPages(index, 1));
  }

  /** Whether any of these frames was converted to shared. May sleep. */
  boolean hasShared(GfnRange range) {
    if (wasConverted.get() == 0) {
      return false;
    }
    folioLock.lock();
    try {
      return isAnyShared(range);
    } finally {
      folioLock.unlock();
    }
  }

  /** {@link #hasShared} with folioLock held. */
  private boolean isAnyShared(GfnRange range) {
    if (range.start() >= MAX_CONVERTED) {
      return false;
    }
    int first = shared.nextSetBit((int) range.start());
    return first >= 0 && first < range.end();
  }

  private void allocFolio(Block block, long blockIndex) {
    boolean wholeInFile = (blockIndex + 1) * 512 <= frames;
    if (folioLevel == PageLevel.LEVEL_2M && wholeInFile) {
      block.folio = allocator.allocFolio(PageOwner.GUEST_MEMORY, Gfp.KERNEL_ACCOUNT);
    }
  }

  private Lookup allocPage(Block block, int page) {
    long[] pages = block.pages;
    if (pages == null) {
      pages = new long[512];
      Arrays.fill(pages, PageAllocator.NO_PAGE);
      block.pages = pages;
    }
    if (pages[page] == PageAllocator.NO_PAGE) {
      pages[page] = allocator.allocPage(PageOwner.GUEST_MEMORY, Gfp.KERNEL_ACCOUNT);
    }
    return pages[page] == PageAllocator.NO_PAGE
        ? Lookup.failed(Errno.ENOMEM)
        : new Lookup(pages[page], PageLevel.LEVEL_4K, Errno.OK);
  }

  /**
   * Removes the frames of a range from the file and from every VM that maps them ({@code
   * FALLOC_FL_PUNCH_HOLE}). Huge leafs that stick out of the range are split first; if that fails,
   * nothing is removed and the error returned. No lock held.
   *
   * @return ONE if the design loses the error; nothing is removed then either
   */
  public Errno punchHole(long start, long end) {
    if (start < 0 || end <= start) {
      return Errno.EINVAL;
    }
    GfnRange hole = new GfnRange(Math.min(start, frames), Math.min(end, frames));
    return invalidate(hole, hole, () -> kindsIn(hole), SplitCause.PUNCH_HOLE, () -> truncate(hole));
  }

  /** Through which roots a range can be mapped: only what was converted through the direct one. */
  private Set<GfnKind> kindsIn(GfnRange range) {
    return hasShared(range) ? EnumSet.allOf(GfnKind.class) : PRIVATE_ONLY;
  }

  /**
   * Makes frames usable by host and guest, where they are. Huge leafs that stick out of the range
   * are split first; if that fails nothing is converted. No lock held.
   *
   * @return EINVAL outside the file or its first 8 TiB; ONE if the design loses an error, and
   *     nothing is converted then either
   */
  public Conversion convertToShared(long start, long end) {
    return convert(start, end, PRIVATE_ONLY, true);
  }

  /** Makes frames the guest's own again, without a split; what the guest accepted is gone. */
  public Conversion convertToPrivate(long start, long end) {
    return convert(start, end, SHARED_ONLY, false);
  }

  private Conversion convert(long start, long end, Set<GfnKind> unmapped, boolean toShared) {
    if (start < 0 || end <= start || end > Math.min(frames, MAX_CONVERTED)) {
      return new Conversion(Errno.EINVAL, start);
    }
    GfnRange range = new GfnRange(start, end);
    // A neighbour that is looked up meanwhile must not be mapped huge: its folio becomes mixed.
    GfnRange affected = new GfnRange(blockStart(start), Math.min(frames, blockStart(end + 511)));
    Errno error =
        invalidate(
            range, affected, () -> unmapped, SplitCause.CONVERSION, () -> mark(range, toShared));
    return new Conversion(error, error.isError() ? start : -1);
  }

  private void mark(GfnRange range, boolean isShared) {
    folioLock.lock();
    try {
      wasConverted.set(1);
      shared.set((int) range.start(), (int) range.end(), isShared);
    } finally {
      folioLock.unlock();
    }
  }

  /**
   * Splits what sticks out of a range, unmaps the range and runs a body, all within one
   * invalidation. If a split fails, nothing is unmapped and the body does not run.
   *
   * @param affected where faults retry meanwhile
   * @param unmapped through which roots; asked with invalidate_lock held
   */
  private Errno invalidate(
      GfnRange range,
      GfnRange affected,
      Supplier<Set<GfnKind>> unmapped,
      SplitCause cause,
      Runnable body) {
    invalidateLock.lock();
    try {
      // Not earlier: another thread may have converted a part of the range in between.
      Set<GfnKind> kinds = unmapped.get();
      forEachVm(affected, GuestMemfd::begin);
      Errno error =
          kinds.contains(GfnKind.PRIVATE)
              ? forEachVm(range, (mmu, ranges) -> splitCrossing(mmu, ranges, cause))
              : Errno.OK;
      if (!error.isError()) {
        forEachVm(range, (mmu, ranges) -> zap(mmu, ranges, kinds));
        body.run();
      }
      forEachVm(affected, (mmu, ranges) -> end(mmu));
      return error;
    } finally {
      invalidateLock.unlock();
    }
  }

  /** The last descriptor goes: everything is unmapped and freed ({@code kvm_gmem_release}). */
  public void release() {
    folioLock.lock();
    released = true;
    folioLock.unlock();
    Errno error = punchHole(0, frames);
    if (error.isError()) {
      throw new IllegalStateException("releasing the whole file needed a split: " + error);
    }
    withInvalidateLock(bindings::clear);
  }

  private interface VmStep {
    Errno run(KvmMmu mmu, List<GfnRange> ranges);
  }

  /**
   * Runs a step for each VM that the range is bound to, mmu_lock held for write, up to an error.
   */
  private Errno forEachVm(GfnRange hole, VmStep step) {
    Map<KvmMmu, List<GfnRange>> byVm =
        bindings.stream()
            .map(b -> new BoundRange(b.mmu, boundPart(b.slot, hole)))
            .filter(b -> !b.gfns.isEmpty())
            .collect(
                Collectors.groupingBy(
                    BoundRange::mmu,
                    LinkedHashMap::new,
                    Collectors.mapping(BoundRange::gfns, Collectors.toList())));
    for (Map.Entry<KvmMmu, List<GfnRange>> vm : byVm.entrySet()) {
      Errno error = vm.getKey().withMmuLock(() -> step.run(vm.getKey(), vm.getValue()));
      if (error.isError()) {
        return error;
      }
    }
    return Errno.OK;
  }

  private record BoundRange(KvmMmu mmu, GfnRange gfns) {}

  private static GfnRange boundPart(Memslot slot, GfnRange hole) {
    GfnRange bound = boundFrames(slot).intersect(hole);
    Function<Long, Long> toGfn = slot::gfnOfGmemIndex;
    return new GfnRange(toGfn.apply(bound.start()), toGfn.apply(bound.end()));
  }

  private static Errno begin(KvmMmu mmu, List<GfnRange> ranges) {
    mmu.invalidate().begin();
    ranges.forEach(mmu.invalidate()::addRange);
    return Errno.OK;
  }

  private static Errno end(KvmMmu mmu) {
    mmu.invalidate().end();
    return Errno.OK;
  }

  private static Errno splitCrossing(KvmMmu mmu, List<GfnRange> ranges, SplitCause cause) {
    for (GfnRange range : ranges) {
      Errno error = mmu.splitBeforeUnmap(range, cause);
      if (error.isError()) {
        return error;
      }
    }
    return Errno.OK;
  }

  private static Errno zap(KvmMmu mmu, List<GfnRange> ranges, Set<GfnKind> kinds) {
    boolean flush = false;
    for (GfnRange range : ranges) {
      flush |= mmu.unmap(0, range, kinds);
    }
    if (flush) {
      mmu.kvm().flushRemoteTlbs();
    }
    return Errno.OK;
  }

  private void truncate(GfnRange hole) {
    folioLock.lock();
    try {
      for (long index = hole.start(); index < hole.end(); ) {
        long next = Math.min(hole.end(), (index / 512 + 1) * 512);
        Block block = blocks.get(index / 512);
        if (block != null) {
          truncate(block, (int) (index % 512), (int) (next - index));
          if (next - index == 512) {
            blocks.remove(index / 512);
          }
        }
        index = next;
      }
    } finally {
      folioLock.unlock();
    }
  }

  /** Frees frames of a block; a folio that loses only a part falls into single pages. */
  private void truncate(Block block, int first, int count) {
    if (block.folio != PageAllocator.NO_PAGE && count == 512) {
      allocator.freeFolio(block.folio, PageOwner.GUEST_MEMORY);
      return;
    }
    long[] pages = block.pages;
    if (pages == null) {
      pages = new long[512];
      for (int i = 0; i < 512; i++) {
        pages[i] = block.folio == PageAllocator.NO_PAGE ? block.folio : block.folio + i;
      }
      block.pages = pages;
      block.folio = PageAllocator.NO_PAGE;
    }
    for (int i = first; i < first + count; i++) {
      if (pages[i] != PageAllocator.NO_PAGE) {
        allocator.freePage(pages[i], PageOwner.GUEST_MEMORY);
        pages[i] = PageAllocator.NO_PAGE;
      }
    }
  }
}
