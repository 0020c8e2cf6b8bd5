package dev.septum.mmu;

import static com.google.common.base.Preconditions.checkState;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.Gfp;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.List;

/**
 * A VMM's memory that is reserved as a whole when it is mapped, as hugetlbfs does: a frame follows
 * from its address, and no table remembers it.
 *
 * <p>Guest memory at {@code gpa} is at {@code gpa} plus a constant here, so that it is aligned
 * alike at every level.
 */
public final class HugetlbMemory implements HostMm {

  private static final long BASE = 0x7f00_0000_0000L;
  private static final int FOLIO_PAGES = PageAllocator.RANGE_PAGES;

  private record Mapping(long hva, long pages, long firstPfn, PageLevel level) {
    boolean contains(long address) {
      return address >= hva && address < hva + (pages << 12);
    }

    long folios() {
      return (pages + FOLIO_PAGES - 1) / FOLIO_PAGES;
    }
  }

  private final PageAllocator allocator;
  private volatile ImmutableList<Mapping> mappings = ImmutableList.of();
  private volatile Runnable onLookup = () -> {};

  /** An address space with nothing mapped. */
  public HugetlbMemory(PageAllocator allocator) {
    this.allocator = allocator;
  }

  /**
   * Maps memory for a guest address in host pages of that size; returns its user address.
   *
   * @throws IllegalStateException if there is not enough free memory in one piece
   */
  public long map(long gpa, long bytes, PageLevel level) {
    Mapping added =
        new Mapping(BASE + gpa, bytes >>> 12, reserve(bytes >>> 12, level.pages()), level);
    mappings = ImmutableList.<Mapping>builder().addAll(mappings).add(added).build();
    return added.hva;
  }

  /** Takes neighbouring folios, the first one aligned; all others go back, all if it fails. */
  private long reserve(long pages, long alignment) {
    List<Long> unused = new ArrayList<>();
    try {
      long first = allocFolio(unused);
      while (first % alignment != 0) {
        first = allocFolio(unused);
      }
      for (long next = FOLIO_PAGES; next < pages; next += FOLIO_PAGES) {
        checkState(allocFolio(unused) == first + next, "host memory is too fragmented");
      }
      long used = first;
      unused.removeIf(folio -> folio >= used);
      return first;
    } finally {
      unused.forEach(folio -> allocator.freeFolio(folio, PageOwner.USER_MEMORY));
    }
  }

  private long allocFolio(List<Long> taken) {
    long folio = allocator.allocFolio(PageOwner.USER_MEMORY, Gfp.KERNEL);
    checkState(folio != PageAllocator.NO_PAGE, "host memory is too small");
    taken.add(folio);
    return folio;
  }

  /** Runs a body whenever a fault looks a page up: no lock is held then. */
  public void onLookup(Runnable body) {
    onLookup = body;
  }

  /** Frames reserved. */
  public long frames() {
    return mappings.stream().mapToLong(mapping -> mapping.folios() * FOLIO_PAGES).sum();
  }

  /** The frame behind an address; {@link PageAllocator#NO_PAGE} if nothing is mapped there. */
  public long pfn(long hva) {
    for (Mapping mapping : mappings) {
      if (mapping.contains(hva)) {
        return mapping.firstPfn + ((hva - mapping.hva) >>> 12);
      }
    }
    return PageAllocator.NO_PAGE;
  }

  /** Gives everything back: the VMM exits. */
  public void unmapAll() {
    for (Mapping mapping : mappings) {
      for (long folio = 0; folio < mapping.folios(); folio++) {
        allocator.freeFolio(mapping.firstPfn + folio * FOLIO_PAGES, PageOwner.USER_MEMORY);
      }
    }
    mappings = ImmutableList.of();
  }

  @Override
  public long faultIn(long hva, boolean write) {
    onLookup.run();
    return pfn(hva);
  }

  @Override
  public boolean isWritable(long hva) {
    return true;
  }

  @Override
  public PageLevel mappingLevel(long hva) {
    for (Mapping mapping : mappings) {
      if (mapping.contains(hva)) {
        return mapping.level;
      }
    }
    return PageLevel.LEVEL_4K;
  }
}
