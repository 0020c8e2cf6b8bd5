package dev.septum.mmu;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.PageLevel;

/**
 * User memory in which the address is the frame: byte {@code pfn << 12} lies in page {@code pfn}.
 * Mapped at whatever level a test chooses.
 */
final class TestMemory implements HostMm {

  /** Frames that exist: 5 GiB. */
  static final long FRAMES = 0x140000;

  private final PageAllocator pages;
  private PageLevel level = PageLevel.LEVEL_4K;
  private boolean writable = true;
  private Runnable onFaultIn = () -> {};

  /** Takes the first {@link #FRAMES} frames of a host whose memory is all free. */
  TestMemory(PageAllocator pages) {
    this.pages = pages;
    for (long pfn = 0; pfn < FRAMES; pfn += 512) {
      long folio = pages.allocFolio(PageOwner.USER_MEMORY, Gfp.KERNEL);
      if (folio != pfn) {
        throw new IllegalStateException("the host's memory is not free");
      }
    }
  }

  void setLevel(PageLevel newLevel) {
    level = newLevel;
  }

  void setWritable(boolean isWritable) {
    writable = isWritable;
  }

  /** Has something happen while a fault looks its page up. */
  void setOnFaultIn(Runnable body) {
    onFaultIn = body;
  }

  @Override
  public long faultIn(long hva, boolean write) {
    onFaultIn.run();
    boolean there = hva >>> 12 < FRAMES && (writable || !write);
    return there ? hva >>> 12 : PageAllocator.NO_PAGE;
  }

  @Override
  public boolean isWritable(long hva) {
    return writable;
  }

  @Override
  public PageLevel mappingLevel(long hva) {
    return level;
  }

  void freeAll() {
    for (long pfn = 0; pfn < FRAMES; pfn += 512) {
      pages.freeFolio(pfn, PageOwner.USER_MEMORY);
    }
  }
}
