package dev.septum.kvm.reference;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.Vcpu;
import java.util.ArrayDeque;
import java.util.Deque;

/** A vCPU with its pages for new tables. Used by the vCPU's own thread, so without a lock. */
public class ReferenceVcpu extends Vcpu {

  private final Deque<Long> cache = new ArrayDeque<>();

  /** A vCPU whose cache is empty. */
  public ReferenceVcpu(Kvm kvm, int id) {
    super(kvm, id);
  }

  Errno topup(int count) {
    while (cache.size() < count) {
      long page = kvm().pages().allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.KERNEL_ACCOUNT);
      if (page == PageAllocator.NO_PAGE) {
        return Errno.ENOMEM;
      }
      cache.push(page);
    }
    return Errno.OK;
  }

  long take() {
    return cache.isEmpty() ? PageAllocator.NO_PAGE : cache.pop();
  }

  void free() {
    while (!cache.isEmpty()) {
      kvm().pages().freePage(cache.pop(), PageOwner.EXTERNAL_PAGE_TABLE);
    }
  }

  int cachedPages() {
    return cache.size();
  }
}
