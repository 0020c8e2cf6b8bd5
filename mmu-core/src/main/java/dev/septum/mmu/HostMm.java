package dev.septum.mmu;

import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.PageLevel;

/** The VMM's address space, as KVM looks pages up in it ({@code get_user_pages} and friends). */
public interface HostMm {

  /** No shared memory anywhere. */
  HostMm NONE =
      new HostMm() {
        @Override
        public long faultIn(long hva, boolean write) {
          return PageAllocator.NO_PAGE;
        }

        @Override
        public boolean isWritable(long hva) {
          return false;
        }

        @Override
        public PageLevel mappingLevel(long hva) {
          return PageLevel.LEVEL_4K;
        }
      };

  /**
   * The host frame behind a user address, populated if need be; {@link PageAllocator#NO_PAGE} if
   * there is none. No spinning lock held; may sleep.
   */
  long faultIn(long hva, boolean write);

  /** Whether the VMM may write at the address. */
  boolean isWritable(long hva);

  /** The level at which the host maps the address. */
  PageLevel mappingLevel(long hva);
}
