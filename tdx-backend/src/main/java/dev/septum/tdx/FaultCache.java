package dev.septum.tdx;

import dev.septum.dpamt.PamtCache;
import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.Errno;

/**
 * A vCPU's pages for one fault: for new S-EPT pages, and for the PAMT of those and of the guest
 * page ({@code prealloc} of {@code struct vcpu_tdx}). Used by the vCPU's own thread.
 */
interface FaultCache {

  /** Fills up for {@code count} S-EPT pages; ENOMEM leaves in what was got. May sleep. */
  Errno topup(int count);

  /** A page for a new S-EPT page; {@link PageAllocator#NO_PAGE} if there is none. Never sleeps. */
  long allocSeptPage();

  /** Pages that wait and can become S-EPT pages only. */
  int septPages();

  /** Where gets of this vCPU take their pairs from. */
  PamtCache pamtPages();

  /** Gives every page back to the allocator. */
  void free();
}
