package dev.septum.kit;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.reference.ReferenceOps;

/**
 * The reference's ops with a correct cache for splits: what the patch says, sentence by sentence.
 */
class CachingOps extends ReferenceOps {

  static final int NEED = 4;

  @Override
  public Errno topupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    CachingVm vm = CachingVm.of(kvm);
    while (vm.count.get() < NEED) {
      long page = vm.pages().allocPage(PageOwner.PAMT_CACHE, Gfp.KERNEL_ACCOUNT);
      if (page == PageAllocator.NO_PAGE) {
        return outOfPages(vm);
      }
      enqueue(vm, page);
    }
    return Errno.OK;
  }

  Errno outOfPages(CachingVm vm) {
    return Errno.ENOMEM;
  }

  void enqueue(CachingVm vm, long page) {
    vm.lock.lock();
    vm.queue.push(page);
    vm.count.set(vm.count.get() + 1);
    vm.lock.unlock();
  }

  @Override
  public boolean needTopupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    return CachingVm.of(kvm).count.get() < NEED;
  }

  @Override
  public void freeExternalPerVmSplitCache(Kvm kvm) {
    CachingVm.of(kvm).freeAll();
  }

  @Override
  public Errno splitExternalSpte(
      Kvm kvm, long gfn, PageLevel level, long old, long newExternalSpt, LockMode mode) {
    CachingVm vm = CachingVm.of(kvm);
    vm.lock.lock();
    try {
      if (vm.count.get() < NEED) {
        boolean isBug = kvm.bugOn(mode == LockMode.EXCLUSIVE, "split cache too small");
        return isBug ? Errno.EIO : Errno.EAGAIN;
      }
      if (vm.refusesNextSplit) {
        vm.refusesNextSplit = false;
        return refused(vm);
      }
      draw(vm, NEED);
    } finally {
      vm.lock.unlock();
    }
    return super.splitExternalSpte(kvm, gfn, level, old, newExternalSpt, mode);
  }

  Errno refused(CachingVm vm) {
    return Errno.EBUSY;
  }

  static void draw(CachingVm vm, int pages) {
    for (int i = 0; i < pages; i++) {
      Long page = vm.queue.poll();
      if (page == null) {
        break; // Only where a wrong backend has miscounted.
      }
      vm.pages().changeOwner(page, PageOwner.PAMT_CACHE, PageOwner.PAMT_PAGE);
      vm.drawn.add(page);
    }
    vm.count.set(vm.count.get() - pages);
  }
}
