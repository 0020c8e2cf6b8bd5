package dev.septum.tdx;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;

/** How a 2M leaf of the Secure EPT is split ({@code tdx_sept_split_private_spte}). */
interface LeafSplit {

  /** Puts {@code septPage} in the place of the leaf. mmu_lock held in that mode. */
  Errno split(long gfn, PageLevel level, long oldMirrorSpte, long septPage, LockMode mode);
}
