package dev.septum.lab.conform;

import com.google.common.collect.Range;
import com.google.common.collect.RangeSet;
import com.google.common.collect.TreeRangeSet;
import dev.septum.kernel.Gfp;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.PageLevel;
import dev.septum.lab.conform.Backing.Mapping;
import dev.septum.lab.conform.Backing.Run;
import dev.septum.mmu.HostMm;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The address space of the recorded VMM: frames and sizes are those of the recording, which has
 * them before and after each operation.
 *
 * <p>Whether the VMM may write is not recorded. It follows from what Linux does with anonymous
 * memory: a page that was first read is the zero page until it is written, and mprotect counts.
 */
final class RecordedMemory implements HostMm {

  private static final long PROT_READ = 1;
  private static final long PROT_WRITE = 2;
  private static final long LEVEL_1G_BYTES = PageLevel.LEVEL_1G.pages() << 12;

  private final PageAllocator pages;

  /** Frames behind addresses that no recording lists: the guest's code. */
  private final Map<Long, Long> ownFrames = new ConcurrentHashMap<>();

  /** Frames of the zero page, small and huge. */
  private final Set<Long> zeroFrames = new HashSet<>();

  /** Addresses that the VMM may not write. */
  private final RangeSet<Long> readOnly = TreeRangeSet.create();

  /** Addresses that the VMM may not even read. */
  private final RangeSet<Long> noAccess = TreeRangeSet.create();

  private Backing before = Backing.NONE;
  private Backing after = Backing.NONE;
  private Runnable onLookup = () -> {};

  RecordedMemory(PageAllocator pages) {
    this.pages = pages;
  }

  /** An operation begins: this is what memory will be in the end. */
  void begin(Optional<Backing> end) {
    before = after;
    after = end.orElse(before);
    noteSharedFrames();
  }

  /** Runs a body whenever a fault looks its page up, which is when the host may change memory. */
  void onLookup(Runnable body) {
    onLookup = body;
  }

  /** {@code mprotect}, with its {@code PROT_*} bits. */
  void protect(long hva, long bytes, long prot) {
    Range<Long> range = Range.closedOpen(hva, hva + bytes);
    set(readOnly, range, (prot & PROT_WRITE) == 0);
    set(noAccess, range, (prot & (PROT_READ | PROT_WRITE)) == 0);
  }

  private static void set(RangeSet<Long> ranges, Range<Long> range, boolean contained) {
    if (contained) {
      ranges.add(range);
    } else {
      ranges.remove(range);
    }
  }

  @Override
  public long faultIn(long hva, boolean write) {
    onLookup.run();
    if (noAccess.contains(hva) || (write && readOnly.contains(hva))) {
      return PageAllocator.NO_PAGE;
    }
    if (after.slotAt(hva).isEmpty()) {
      return ownFrame(hva);
    }
    Optional<Run> run = present(hva);
    if (run.isEmpty()) {
      return PageAllocator.NO_PAGE;
    }
    long pfn = pfn(run.get(), hva);
    if (!write && before.slotAt(hva).isPresent() && isAbsent(before, hva)) {
      noteZero(run.get(), pfn);
    }
    return pfn;
  }

  @Override
  public boolean isWritable(long hva) {
    return !readOnly.contains(hva)
        && present(hva).map(run -> !zeroFrames.contains(pfn(run, hva))).orElse(true);
  }

  @Override
  public PageLevel mappingLevel(long hva) {
    Optional<Run> run = present(hva);
    if (run.isEmpty() || run.get().mapping() != Mapping.HUGE) {
      return PageLevel.LEVEL_4K;
    }
    return isMappedAt1G(run.get(), hva) ? PageLevel.LEVEL_1G : PageLevel.LEVEL_2M;
  }

  /** A 1G leaf of the host shows as one run of frames that are aligned like its addresses. */
  private boolean isMappedAt1G(Run run, long hva) {
    long runHva = after.slotAt(hva).orElseThrow().hva() + (run.page() << 12);
    long leaf = hva & -LEVEL_1G_BYTES;
    return leaf >= runHva
        && leaf + LEVEL_1G_BYTES <= runHva + (run.count() << 12)
        && PageLevel.LEVEL_1G.isAligned(pfn(run, leaf));
  }

  private Optional<Run> present(long hva) {
    Optional<Run> now = after.runAt(hva).filter(r -> r.mapping() != Mapping.NOT_PRESENT);
    return now.isPresent()
        ? now
        : before.runAt(hva).filter(r -> r.mapping() != Mapping.NOT_PRESENT);
  }

  private static boolean isAbsent(Backing backing, long hva) {
    return backing.runAt(hva).map(r -> r.mapping() == Mapping.NOT_PRESENT).orElse(true);
  }

  private long pfn(Run run, long hva) {
    long slotHva = after.slotAt(hva).or(() -> before.slotAt(hva)).orElseThrow().hva();
    return run.pfnAt((hva - slotHva) >>> 12);
  }

  private void noteZero(Run run, long pfn) {
    if (run.mapping() == Mapping.HUGE) {
      long first = PageLevel.LEVEL_2M.alignDown(pfn);
      for (long i = 0; i < PageLevel.LEVEL_2M.pages(); i++) {
        zeroFrames.add(first + i);
      }
    } else {
      zeroFrames.add(pfn);
    }
  }

  /** A frame behind several pages is the zero page. */
  private void noteSharedFrames() {
    for (Backing.Slot slot : after.slots()) {
      Set<Long> seen = new HashSet<>();
      for (Run run : slot.runs()) {
        if (run.mapping() == Mapping.PTE && run.count() == 1 && !seen.add(run.pfn())) {
          zeroFrames.add(run.pfn());
        }
      }
    }
  }

  private long ownFrame(long hva) {
    return ownFrames.computeIfAbsent(
        hva >>> 12, page -> pages.allocPage(PageOwner.USER_MEMORY, Gfp.KERNEL_ACCOUNT));
  }
}
