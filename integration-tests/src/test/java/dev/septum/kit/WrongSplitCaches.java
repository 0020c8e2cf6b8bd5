package dev.septum.kit;

import static dev.septum.kit.WrongBackends.caching;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.Gfp;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kit.WrongBackends.Wrong;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import java.util.List;

/** Backends that break a rule on the cache for splits. */
final class WrongSplitCaches {

  private WrongSplitCaches() {}

  static List<Wrong> all() {
    return ImmutableList.of(
        caching(
            "CACHE.1",
            "right after a topup that returned OK",
            () ->
                new CachingOps() {
                  /** Says what was true at the last question. */
                  @Override
                  public boolean needTopupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
                    CachingVm vm = CachingVm.of(kvm);
                    boolean old = vm.scratch.get() < NEED;
                    vm.scratch.set(vm.count.get());
                    return old || vm.count.get() < NEED;
                  }
                }),
        caching(
            "CACHE.2",
            "pages in the cache after a topup of an empty one",
            () ->
                new CachingOps() {
                  @Override
                  public Errno topupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
                    CachingVm vm = CachingVm.of(kvm);
                    Errno status = super.topupExternalPerVmSplitCache(kvm, level);
                    if (!status.isError() && vm.count.get() == NEED) {
                      long page = vm.pages().allocPage(PageOwner.PAMT_CACHE, Gfp.KERNEL);
                      if (page != PageAllocator.NO_PAGE) {
                        enqueue(vm, page);
                      }
                    }
                    return status;
                  }
                }),
        caching(
            "CACHE.3",
            "the count is read without one",
            () ->
                new CachingOps() {
                  @Override
                  public Errno topupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
                    CachingVm vm = CachingVm.of(kvm);
                    vm.lock.lock();
                    boolean isFull = vm.count.get() >= NEED;
                    vm.lock.unlock();
                    return isFull ? Errno.OK : super.topupExternalPerVmSplitCache(kvm, level);
                  }
                }),
        caching(
            "CACHE.4",
            "locks held while a topup allocated a page",
            () ->
                new CachingOps() {
                  @Override
                  public Errno topupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
                    CachingVm vm = CachingVm.of(kvm);
                    while (vm.count.get() < NEED) {
                      vm.lock.lock();
                      long page = vm.pages().allocPage(PageOwner.PAMT_CACHE, Gfp.ATOMIC);
                      if (page != PageAllocator.NO_PAGE) {
                        vm.queue.push(page);
                        vm.count.set(vm.count.get() + 1);
                      }
                      vm.lock.unlock();
                      if (page == PageAllocator.NO_PAGE) {
                        return Errno.ENOMEM;
                      }
                    }
                    return Errno.OK;
                  }
                }),
        caching(
            "CACHE.5",
            "put pages into the cache under no spinning lock",
            () ->
                new CachingOps() {
                  /** On this machine a step between two scheduling points is not interrupted. */
                  @Override
                  void enqueue(CachingVm vm, long page) {
                    vm.queue.push(page);
                    vm.count.addAndGet(1);
                  }
                }),
        caching(
            "CACHE.6",
            "locks that need_topup_external_per_vm_split_cache took",
            () ->
                new CachingOps() {
                  @Override
                  public boolean needTopupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
                    CachingVm vm = CachingVm.of(kvm);
                    vm.lock.lock();
                    boolean needed = vm.count.get() < NEED;
                    vm.lock.unlock();
                    return needed;
                  }
                }),
        caching(
            "CACHE.7",
            "returned EAGAIN after need_topup was false",
            () ->
                new CachingOps() {
                  @Override
                  public Errno splitExternalSpte(
                      Kvm kvm, long gfn, PageLevel level, long old, long spt, LockMode mode) {
                    CachingVm vm = CachingVm.of(kvm);
                    if (mode == LockMode.EXCLUSIVE && vm.scratch.get() == 0) {
                      vm.scratch.set(1);
                      return Errno.EAGAIN;
                    }
                    return super.splitExternalSpte(kvm, gfn, level, old, spt, mode);
                  }
                }),
        caching(
            "CACHE.8",
            "where another thread emptied the cache after need_topup",
            () ->
                new CachingOps() {
                  /** Makes do with what there is. */
                  @Override
                  public Errno splitExternalSpte(
                      Kvm kvm, long gfn, PageLevel level, long old, long spt, LockMode mode) {
                    CachingVm vm = CachingVm.of(kvm);
                    vm.lock.lock();
                    while (vm.count.get() < NEED) {
                      long page = vm.pages().allocPage(PageOwner.PAMT_CACHE, Gfp.ATOMIC);
                      if (page == PageAllocator.NO_PAGE) {
                        break;
                      }
                      vm.queue.push(page);
                      vm.count.set(vm.count.get() + 1);
                    }
                    vm.lock.unlock();
                    return super.splitExternalSpte(kvm, gfn, level, old, spt, mode);
                  }
                }),
        caching(
            "CACHE.9",
            "pages in the cache after a split was refused",
            () ->
                new CachingOps() {
                  @Override
                  Errno refused(CachingVm vm) {
                    draw(vm, 2);
                    return Errno.EBUSY;
                  }
                }),
        caching(
            "CACHE.10",
            "pages in the cache after it",
            () ->
                new CachingOps() {
                  @Override
                  Errno outOfPages(CachingVm vm) {
                    vm.freeAll();
                    return Errno.ENOMEM;
                  }
                }),
        caching(
            "CACHE.11",
            "locks that free_external_per_vm_split_cache took",
            () ->
                new CachingOps() {
                  @Override
                  public void freeExternalPerVmSplitCache(Kvm kvm) {
                    CachingVm.of(kvm).lock.lock();
                    super.freeExternalPerVmSplitCache(kvm);
                    CachingVm.of(kvm).lock.unlock();
                  }
                }),
        caching(
            "CACHE.12",
            "pages in the cache after its free",
            () ->
                new CachingOps() {
                  @Override
                  public void freeExternalPerVmSplitCache(Kvm kvm) {
                    if (kvm.stats().get(VmStat.PAGES_2M) == 0) {
                      super.freeExternalPerVmSplitCache(kvm);
                    }
                  }
                }),
        caching(
            "CACHE.13",
            "after two topups at once",
            () ->
                new CachingOps() {
                  /** The page is put in under the lock, and counted outside. */
                  @Override
                  void enqueue(CachingVm vm, long page) {
                    vm.lock.lock();
                    vm.queue.push(page);
                    vm.lock.unlock();
                    vm.count.set(vm.count.get() + 1);
                  }
                }));
  }
}
