package dev.septum.mmu;

import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;

/**
 * How it is decided whether the dirty bits of one word lie in two huge pages, so that both must be
 * write-protected ({@code kvm_arch_mmu_enable_log_dirty_pt_masked}).
 */
public enum DirtyLogBoundary {
  /**
   * As the kernel does: by the ends of the huge pages, found by rounding up. A last bit on the
   * first frame of the next huge page goes unseen; see {@code docs/findings.md}.
   */
  ROUNDED_UP {
    @Override
    boolean crosses(GfnRange dirty) {
      return PageLevel.LEVEL_2M.alignUp(dirty.start())
          != PageLevel.LEVEL_2M.alignUp(dirty.end() - 1);
    }
  },
  /** By the huge pages that hold the first and the last frame. */
  CONTAINING_PAGE {
    @Override
    boolean crosses(GfnRange dirty) {
      return PageLevel.LEVEL_2M.alignDown(dirty.start())
          != PageLevel.LEVEL_2M.alignDown(dirty.end() - 1);
    }
  };

  /** Whether the last frame of a range needs a write protection of its own. */
  abstract boolean crosses(GfnRange dirty);
}
