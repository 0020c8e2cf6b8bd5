package dev.septum.kit;

import static dev.septum.kvm.PageLevel.LEVEL_2M;
import static dev.septum.kvm.PageLevel.LEVEL_4K;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.Gfp;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Capability;
import dev.septum.kvm.Errno;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.InterposedOps;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.MirrorSpte;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;
import dev.septum.kvm.VmStat;
import dev.septum.kvm.reference.ReferenceOps;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.function.ToLongFunction;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** For each rule a backend, or a KVM, that breaks it and no other. */
final class WrongBackends {

  /**
   * One of them.
   *
   * @param rule what it breaks
   * @param says part of what the kit must tell its author
   */
  record Wrong(String rule, Subject subject, String says) {
    @Override
    public String toString() {
      return rule;
    }
  }

  private WrongBackends() {}

  private static Wrong reference(String rule, String says, Supplier<KvmX86Ops> ops) {
    return new Wrong(rule, new RefusableSubject(AlteredBackend.reference(ops)), says);
  }

  private static Wrong caching(String rule, String says, Supplier<KvmX86Ops> ops) {
    return new Wrong(rule, new RefusableSubject(AlteredBackend.caching(ops)), says);
  }

  private static Wrong showing(
      String rule, String says, Supplier<KvmX86Ops> ops, ToLongFunction<CachingVm> morePages) {
    AlteredBackend backend =
        AlteredBackend.reference(ops)
            .showing(kvm -> view -> new WithMorePages(CachingVm.of(kvm), morePages));
    return new Wrong(rule, new RefusableSubject(backend), says);
  }

  private static Wrong kvm(String rule, String says, UnaryOperator<KvmX86Ops> wrongKvm) {
    return kvm(rule, says, CachingOps::new, wrongKvm);
  }

  private static Wrong kvm(
      String rule, String says, Supplier<KvmX86Ops> ops, UnaryOperator<KvmX86Ops> wrongKvm) {
    return new Wrong(rule, new RefusableSubject(AlteredBackend.caching(ops), wrongKvm), says);
  }

  /** Maps what is mapped once more. */
  private static final class IdempotentOps extends CachingOps {
    @Override
    public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
      ExternalTable.Leaf leaf = new ExternalTable.Leaf(gfn, level, MirrorSpte.pfn(mirrorSpte));
      return leaf.equals(CachingVm.of(kvm).table().walk(gfn))
          ? Errno.OK
          : super.setExternalSpte(kvm, gfn, level, mirrorSpte);
    }
  }

  /** A view that knows of pages in the vCPUs' caches that are not there. */
  private static final class WithMorePages extends CachingView {
    private final CachingVm vm;
    private final ToLongFunction<CachingVm> more;

    WithMorePages(CachingVm vm, ToLongFunction<CachingVm> more) {
      super(vm);
      this.vm = vm;
      this.more = more;
    }

    @Override
    public Map<PageOwner, Long> pages() {
      Map<PageOwner, Long> pages = new EnumMap<>(super.pages());
      pages.merge(PageOwner.EXTERNAL_PAGE_TABLE, more.applyAsLong(vm), Long::sum);
      return pages;
    }
  }

  /** The reference, with an op's body before set_external_spte. */
  private static Supplier<KvmX86Ops> beforeSet(Consumer<CachingVm> body) {
    return () ->
        new OpsWithRefusal() {
          @Override
          public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
            body.accept(CachingVm.of(kvm));
            return super.setExternalSpte(kvm, gfn, level, mirrorSpte);
          }
        };
  }

  /** The reference's ops, whose next split can be refused. */
  private static class OpsWithRefusal extends ReferenceOps {
    @Override
    public Errno splitExternalSpte(
        Kvm kvm, long gfn, PageLevel level, long old, long newExternalSpt, LockMode mode) {
      CachingVm vm = CachingVm.of(kvm);
      if (vm.refusesNextSplit) {
        vm.refusesNextSplit = false;
        return refused(kvm, gfn, level, old, newExternalSpt, mode);
      }
      return split(kvm, gfn, level, old, newExternalSpt, mode);
    }

    @SuppressWarnings("UnusedVariable") // For those who do more.
    Errno refused(
        Kvm kvm, long gfn, PageLevel level, long old, long newExternalSpt, LockMode mode) {
      return Errno.EBUSY;
    }

    Errno split(Kvm kvm, long gfn, PageLevel level, long old, long newExternalSpt, LockMode mode) {
      return super.splitExternalSpte(kvm, gfn, level, old, newExternalSpt, mode);
    }
  }

  static ImmutableList<Wrong> all() {
    return ImmutableList.<Wrong>builder()
        .addAll(calls())
        .addAll(capabilities())
        .addAll(faultCaches())
        .addAll(splitCaches())
        .addAll(tables())
        .addAll(splits())
        .addAll(failures())
        .addAll(races())
        .addAll(ends())
        .addAll(kvms())
        .build();
  }

  /** An op of this one never returns, unless its thread is interrupted. */
  private static final class HangingBackend extends AlteredBackend {
    HangingBackend() {
      super(
          Set.of(Capability.EXTERNAL_PAGE_TABLE),
          beforeSet(
              vm -> {
                try {
                  Thread.sleep(600_000);
                } catch (InterruptedException e) {
                  Thread.currentThread().interrupt();
                }
              }),
          kvm -> UnaryOperator.identity());
    }
  }

  private static final class Impatient extends Subject {
    Impatient() {
      super(new HangingBackend());
    }

    @Override
    public Duration timeLimit() {
      return Duration.ofMillis(500);
    }
  }

  private static List<Wrong> calls() {
    return ImmutableList.of(
        reference(
            "CALL.1",
            "backend reference: set_external_spte of gfn 0x200 level 2 threw"
                + " java.lang.IllegalStateException: on purpose",
            beforeSet(
                vm -> {
                  throw new IllegalStateException("on purpose");
                })),
        new Wrong("CALL.2", new Impatient(), "set_external_spte does not return"),
        reference(
            "CALL.3",
            "returned EPERM, which is none of [OK, EIO, EAGAIN, ENOMEM, EBUSY]",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno setExternalSpte(
                      Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
                    return Errno.EPERM;
                  }
                }),
        reference(
            "CALL.4",
            "left prealloc_split_cache_lock held",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno setExternalSpte(
                      Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
                    Errno status = super.setExternalSpte(kvm, gfn, level, mirrorSpte);
                    CachingVm.of(kvm).lock.lock();
                    return status;
                  }
                }),
        reference(
            "CALL.5",
            "sleeping function called from atomic context",
            beforeSet(
                vm ->
                    vm.pages()
                        .freePage(
                            vm.pages().allocPage(PageOwner.PAMT_CACHE, Gfp.KERNEL),
                            PageOwner.PAMT_CACHE))),
        reference(
            "CALL.6",
            "wrong lock order: taking tdp_mmu_pages_lock while holding prealloc_split_cache_lock",
            beforeSet(
                vm -> {
                  vm.lock.lock();
                  vm.kernel().spinLock(LockClass.TDP_MMU_PAGES_LOCK).lock();
                })));
  }

  private static List<Wrong> capabilities() {
    return ImmutableList.of(
        reference(
            "CAP.1",
            "a private fault: FaultOutcome[result=RETRY",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno setExternalSpte(
                      Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
                    return Errno.ENOMEM;
                  }
                }),
        reference("CAP.2", "look at gmem_max_mapping_level", () -> new UpTo(LEVEL_4K)),
        new Wrong(
            "CAP.3",
            new RefusableSubject(
                AlteredBackend.reference(() -> new UpTo(LEVEL_2M))
                    .claiming(Capability.EXTERNAL_PAGE_TABLE)),
            "gmem_max_mapping_level of private memory must be 4K"),
        reference(
            "CAP.4", "SHARED_SPLIT is claimed", () -> new SharedSplitsReturn(Errno.EOPNOTSUPP)),
        new Wrong(
            "CAP.5",
            new RefusableSubject(
                AlteredBackend.reference(() -> new SharedSplitsReturn(Errno.EBUSY))
                    .claiming(Capability.EXTERNAL_PAGE_TABLE, Capability.HUGE_LEAFS)),
            "split_external_spte under the read mmu_lock must return EOPNOTSUPP"),
        reference(
            "CAP.6",
            "need_topup_external_per_vm_split_cache must be false",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public boolean needTopupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
                    return CachingVm.of(kvm).scratch.get() == 0;
                  }

                  @Override
                  public Errno topupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
                    CachingVm.of(kvm).scratch.set(1);
                    return Errno.OK;
                  }
                }),
        new Wrong(
            "CAP.7",
            new RefusableSubject(
                AlteredBackend.reference(OpsWithRefusal::new)
                    .claiming()
                    .showing(kvm -> view -> new WithMorePages(CachingVm.of(kvm), vm -> 1))),
            "EXTERNAL_PAGE_TABLE is not claimed: pages"),
        new Wrong(
            "CAP.8",
            new RefusableSubject(
                new AlteredBackend(
                    Set.of(Capability.EXTERNAL_PAGE_TABLE, Capability.HUGE_LEAFS),
                    () -> new SharedSplitsReturn(Errno.EOPNOTSUPP),
                    kvm -> UnaryOperator.identity()) {
                  @Override
                  public String description() {
                    return " ";
                  }
                }),
            "description() is empty"));
  }

  private static final class UpTo extends OpsWithRefusal {
    private final PageLevel level;

    UpTo(PageLevel level) {
      this.level = level;
    }

    @Override
    public PageLevel gmemMaxMappingLevel(Kvm kvm, long pfn, boolean isPrivate) {
      return isPrivate ? level : PageLevel.NONE;
    }
  }

  private static final class SharedSplitsReturn extends OpsWithRefusal {
    private final Errno status;

    SharedSplitsReturn(Errno status) {
      this.status = status;
    }

    @Override
    Errno split(Kvm kvm, long gfn, PageLevel level, long old, long newExternalSpt, LockMode mode) {
      return mode == LockMode.SHARED
          ? status
          : super.split(kvm, gfn, level, old, newExternalSpt, mode);
    }
  }

  private static List<Wrong> faultCaches() {
    return ImmutableList.of(
        reference(
            "FAULT.1",
            "pages that alloc_external_fault_cache gave after a topup for 5",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno topupExternalFaultCache(Vcpu vcpu, int count) {
                    return super.topupExternalFaultCache(vcpu, count - 1);
                  }
                }),
        reference(
            "FAULT.2",
            "a topup whose third page cannot be had",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno topupExternalFaultCache(Vcpu vcpu, int count) {
                    Errno unused = super.topupExternalFaultCache(vcpu, count);
                    return Errno.OK;
                  }
                }),
        reference(
            "FAULT.3",
            "of a vCPU without pages, while another vCPU has some",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public long allocExternalFaultCache(Vcpu vcpu) {
                    long page = super.allocExternalFaultCache(vcpu);
                    for (Vcpu other : vcpu.kvm().vcpus()) {
                      page =
                          page == PageAllocator.NO_PAGE
                              ? super.allocExternalFaultCache(other)
                              : page;
                    }
                    return page;
                  }
                }),
        reference(
            "FAULT.4",
            "pages that alloc_external_fault_cache took from the host",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public long allocExternalFaultCache(Vcpu vcpu) {
                    long fresh =
                        vcpu.kvm().pages().allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.ATOMIC);
                    return fresh == PageAllocator.NO_PAGE
                        ? super.allocExternalFaultCache(vcpu)
                        : fresh;
                  }
                }),
        reference(
            "FAULT.5",
            "pages in the cache after free_external_fault_cache",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public void freeExternalFaultCache(Vcpu vcpu) {}

                  @Override
                  public void freeExternalPerVmSplitCache(Kvm kvm) {
                    kvm.vcpus().forEach(super::freeExternalFaultCache);
                  }
                }),
        reference(
            "FAULT.6",
            "topup_external_fault_cache took mmu_lock",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno topupExternalFaultCache(Vcpu vcpu, int count) {
                    vcpu.kvm().mmuLock().lock(LockMode.SHARED);
                    vcpu.kvm().mmuLock().unlock(LockMode.SHARED);
                    return super.topupExternalFaultCache(vcpu, count);
                  }
                }));
  }

  private static List<Wrong> splitCaches() {
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

  private static List<Wrong> tables() {
    return ImmutableList.of(
        reference(
            "TABLE.1",
            "after link_external_spt",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno linkExternalSpt(Kvm kvm, long gfn, PageLevel level, long spt) {
                    Errno status = super.linkExternalSpt(kvm, gfn, level, spt);
                    kvm.pages()
                        .changeOwner(spt, PageOwner.SEPT_PAGE, PageOwner.EXTERNAL_PAGE_TABLE);
                    return status;
                  }

                  @Override
                  public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long spt) {
                    if (kvm.pages().ownerOf(spt) == PageOwner.EXTERNAL_PAGE_TABLE) {
                      kvm.pages()
                          .changeOwner(spt, PageOwner.EXTERNAL_PAGE_TABLE, PageOwner.SEPT_PAGE);
                    }
                    return super.freeExternalSpt(kvm, gfn, level, spt);
                  }
                }),
        reference(
            "TABLE.2",
            "the leaf after set_external_spte",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) {
                    return super.setExternalSpte(kvm, gfn, level, spte ^ 1L << 12);
                  }
                }),
        reference("TABLE.3", "after remove_external_spte", () -> new RemovesAllBut(LEVEL_4K)),
        reference(
            "TABLE.4",
            "owners of pages right after free_external_spt",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long spt) {
                    Errno status = super.freeExternalSpt(kvm, gfn, level, spt);
                    PageAllocator pages = kvm.pages();
                    pages.changeOwner(spt, PageOwner.EXTERNAL_PAGE_TABLE, PageOwner.SEPT_PAGE);
                    kvm.kernel()
                        .rcu()
                        .call(
                            () ->
                                pages.changeOwner(
                                    spt, PageOwner.SEPT_PAGE, PageOwner.EXTERNAL_PAGE_TABLE));
                    return status;
                  }
                }),
        reference(
            "TABLE.5",
            "mirror and external leafs after step",
            () ->
                new OpsWithRefusal() {
                  /** Forgets one removal in the life of a VM. */
                  @Override
                  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long old) {
                    if (CachingVm.of(kvm).scratch.addAndGet(1) != 520) {
                      super.removeExternalSpte(kvm, gfn, level, old);
                    }
                  }
                }),
        reference(
            "TABLE.6",
            "are not guest memory any more",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) {
                    take(kvm, MirrorSpte.pfn(spte), PageOwner.GUEST_MEMORY, PageOwner.TD_CONTROL);
                    return super.setExternalSpte(kvm, gfn, level, spte);
                  }

                  @Override
                  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long old) {
                    take(kvm, MirrorSpte.pfn(old), PageOwner.TD_CONTROL, PageOwner.GUEST_MEMORY);
                    super.removeExternalSpte(kvm, gfn, level, old);
                  }
                }),
        reference(
            "TABLE.7",
            "mapped once more",
            () ->
                new OpsWithRefusal() {
                  private final Set<Long> removed = new HashSet<>();

                  @Override
                  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) {
                    return removed.contains(MirrorSpte.pfn(spte))
                        ? Errno.OK
                        : super.setExternalSpte(kvm, gfn, level, spte);
                  }

                  @Override
                  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long old) {
                    removed.add(MirrorSpte.pfn(old));
                    super.removeExternalSpte(kvm, gfn, level, old);
                  }
                }),
        showing("TABLE.8", "ExternalTable.pages() and of KVM", OpsWithRefusal::new, vm -> 1));
  }

  private static void take(Kvm kvm, long pfn, PageOwner from, PageOwner to) {
    if (kvm.pages().ownerOf(pfn) == from) {
      kvm.pages().changeOwner(pfn, from, to);
    }
  }

  private static final class RemovesAllBut extends OpsWithRefusal {
    private final PageLevel level;

    RemovesAllBut(PageLevel level) {
      this.level = level;
    }

    @Override
    public void removeExternalSpte(Kvm kvm, long gfn, PageLevel ofLevel, long old) {
      if (ofLevel != level) {
        super.removeExternalSpte(kvm, gfn, ofLevel, old);
      }
    }
  }

  private interface AfterSplit {
    void change(KvmX86Ops ops, Kvm kvm, long gfn, long pfn, long newExternalSpt);
  }

  private static Supplier<KvmX86Ops> afterSplit(AfterSplit change) {
    return () ->
        new OpsWithRefusal() {
          @Override
          Errno split(
              Kvm kvm, long gfn, PageLevel level, long old, long newExternalSpt, LockMode mode) {
            Errno status = super.split(kvm, gfn, level, old, newExternalSpt, mode);
            change.change(this, kvm, gfn, MirrorSpte.pfn(old), newExternalSpt);
            return status;
          }
        };
  }

  private static List<Wrong> splits() {
    return ImmutableList.of(
        reference(
            "SPLIT.1",
            "a split under the write mmu_lock",
            () ->
                new OpsWithRefusal() {
                  @Override
                  Errno split(
                      Kvm kvm, long gfn, PageLevel level, long old, long spt, LockMode mode) {
                    return mode == LockMode.EXCLUSIVE
                        ? Errno.EBUSY
                        : super.split(kvm, gfn, level, old, spt, mode);
                  }
                }),
        reference(
            "SPLIT.2",
            "leafs after a split of",
            afterSplit(
                (ops, kvm, gfn, pfn, spt) -> {
                  ops.removeExternalSpte(kvm, gfn + 7, LEVEL_4K, 0);
                  Errno unused = ops.setExternalSpte(kvm, gfn + 7, LEVEL_4K, (pfn + 8) << 12);
                })),
        reference(
            "SPLIT.3",
            "owner of the page of the table that a split added",
            () ->
                new OpsWithRefusal() {
                  @Override
                  Errno split(
                      Kvm kvm, long gfn, PageLevel level, long old, long spt, LockMode mode) {
                    Errno status = super.split(kvm, gfn, level, old, spt, mode);
                    take(kvm, spt, PageOwner.SEPT_PAGE, PageOwner.EXTERNAL_PAGE_TABLE);
                    return status;
                  }

                  @Override
                  public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long spt) {
                    take(kvm, spt, PageOwner.EXTERNAL_PAGE_TABLE, PageOwner.SEPT_PAGE);
                    return super.freeExternalSpt(kvm, gfn, level, spt);
                  }
                }),
        reference(
            "SPLIT.4",
            "the pages of a leaf that was split are not guest memory any more",
            afterSplit(
                (ops, kvm, gfn, pfn, spt) ->
                    take(kvm, pfn + 3, PageOwner.GUEST_MEMORY, PageOwner.TD_CONTROL))),
        reference(
            "SPLIT.5",
            "leafs after a split was refused",
            () ->
                new OpsWithRefusal() {
                  /** Done, and yet refused; the next attempt finds it done. */
                  @Override
                  Errno refused(
                      Kvm kvm, long gfn, PageLevel level, long old, long spt, LockMode mode) {
                    Errno unused = super.split(kvm, gfn, level, old, spt, mode);
                    unused = super.freeExternalSpt(kvm, gfn, level, spt);
                    return Errno.EBUSY;
                  }

                  @Override
                  Errno split(
                      Kvm kvm, long gfn, PageLevel level, long old, long spt, LockMode mode) {
                    ExternalTable.Leaf leaf = CachingVm.of(kvm).table().walk(gfn);
                    if (leaf != null && leaf.level() == LEVEL_4K) {
                      return super.linkExternalSpt(kvm, gfn, level, spt);
                    }
                    return super.split(kvm, gfn, level, old, spt, mode);
                  }
                }),
        reference(
            "SPLIT.6",
            "the next split after one was refused",
            () ->
                new OpsWithRefusal() {
                  @Override
                  Errno refused(
                      Kvm kvm, long gfn, PageLevel level, long old, long spt, LockMode mode) {
                    CachingVm.of(kvm).scratch.set(1);
                    return Errno.EBUSY;
                  }

                  @Override
                  Errno split(
                      Kvm kvm, long gfn, PageLevel level, long old, long spt, LockMode mode) {
                    return CachingVm.of(kvm).scratch.get() == 1
                        ? Errno.EBUSY
                        : super.split(kvm, gfn, level, old, spt, mode);
                  }
                }),
        reference(
            "SPLIT.7",
            "the leaf beside the one that was split",
            afterSplit(
                (ops, kvm, gfn, pfn, spt) -> {
                  ExternalTable.Leaf next = CachingVm.of(kvm).table().walk(gfn + 512);
                  if (next != null && next.level() == LEVEL_2M) {
                    ops.removeExternalSpte(kvm, gfn + 512, LEVEL_2M, 0);
                  }
                })));
  }

  private static List<Wrong> failures() {
    return ImmutableList.of(
        reference(
            "FAIL.1",
            "external_page_table has",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno topupExternalFaultCache(Vcpu vcpu, int count) {
                    Errno status = super.topupExternalFaultCache(vcpu, count);
                    if (status.isError()) {
                      vcpu.kvm().pages().allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.KERNEL);
                    }
                    return status;
                  }
                }),
        reference(
            "FAIL.2",
            "nothing is mapped after a fault whose allocation",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno topupExternalFaultCache(Vcpu vcpu, int count) {
                    Errno status = super.topupExternalFaultCache(vcpu, count);
                    if (status.isError()) {
                      CachingVm.of(vcpu.kvm()).scratch.set(1);
                    }
                    return status;
                  }

                  @Override
                  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) {
                    return CachingVm.of(kvm).scratch.get() == 1
                        ? Errno.EBUSY
                        : super.setExternalSpte(kvm, gfn, level, spte);
                  }
                }),
        caching(
            "FAIL.3",
            "pamt_cache has",
            () ->
                new CachingOps() {
                  @Override
                  Errno outOfPages(CachingVm vm) {
                    vm.pages().allocPage(PageOwner.PAMT_CACHE, Gfp.KERNEL);
                    return Errno.ENOMEM;
                  }
                }));
  }

  private static List<Wrong> races() {
    return ImmutableList.of(
        showing(
            "RACE.1",
            "faults of two ranges at once",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) {
                    CachingVm.of(kvm).countRacily();
                    return super.setExternalSpte(kvm, gfn, level, spte);
                  }
                },
            CachingVm::lostCounts),
        showing(
            "RACE.2",
            "a fault and a removal at once",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno topupExternalFaultCache(Vcpu vcpu, int count) {
                    if (vcpu.id() == 1) {
                      CachingVm.of(vcpu.kvm()).countRacily();
                    }
                    return super.topupExternalFaultCache(vcpu, count);
                  }

                  @Override
                  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long old) {
                    CachingVm.of(kvm).countRacily();
                    super.removeExternalSpte(kvm, gfn, level, old);
                  }
                },
            CachingVm::lostCounts),
        showing(
            "RACE.3",
            "splits of two leafs at once",
            () ->
                new OpsWithRefusal() {
                  @Override
                  Errno split(
                      Kvm kvm, long gfn, PageLevel level, long old, long spt, LockMode mode) {
                    CachingVm.of(kvm).countRacily();
                    return super.split(kvm, gfn, level, old, spt, mode);
                  }
                },
            CachingVm::lostCounts));
  }

  private static List<Wrong> ends() {
    return ImmutableList.of(
        reference(
            "END.1",
            "pages that did not come back from a VM of backend altered",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public void freeExternalPerVmSplitCache(Kvm kvm) {
                    kvm.pages().allocPage(PageOwner.TD_CONTROL, Gfp.KERNEL);
                  }
                }),
        reference(
            "END.2",
            "the VM is bugged",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public void freeExternalPerVmSplitCache(Kvm kvm) {
                    kvm.bugOn(true, "for no reason");
                  }
                }),
        reference(
            "END.3",
            "leafs of another VM after this one went",
            () ->
                new OpsWithRefusal() {
                  private final List<Kvm> vms = new ArrayList<>();

                  @Override
                  public Errno topupExternalFaultCache(Vcpu vcpu, int count) {
                    vms.add(vcpu.kvm());
                    return super.topupExternalFaultCache(vcpu, count);
                  }

                  @Override
                  public void freeExternalPerVmSplitCache(Kvm kvm) {
                    for (Kvm other : new HashSet<>(vms)) {
                      CachingVm vm = CachingVm.of(other);
                      for (ExternalTable.Leaf leaf : vm.table().leafs()) {
                        super.removeExternalSpte(vm, leaf.gfn(), leaf.level(), 0);
                      }
                    }
                  }
                }),
        reference(
            "END.4",
            "pages that did not come back from a VM that was bugged",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long spt) {
                    return kvm.isBugged() ? Errno.EIO : super.freeExternalSpt(kvm, gfn, level, spt);
                  }
                }));
  }

  /** A KVM that changes the status of some op. */
  private abstract static class WrongStatus extends InterposedOps {
    WrongStatus(KvmX86Ops ops) {
      super(ops);
    }

    abstract Errno changed(Kvm kvm, Errno status);

    @Override
    public Errno splitExternalSpte(
        Kvm kvm, long gfn, PageLevel level, long old, long newExternalSpt, LockMode mode) {
      return changed(kvm, super.splitExternalSpte(kvm, gfn, level, old, newExternalSpt, mode));
    }
  }

  private static List<Wrong> kvms() {
    return ImmutableList.of(
        kvm(
            "KVM.1",
            "mmu_lock in OpCall[op=set_external_spte",
            ops ->
                new InterposedOps(ops) {
                  @Override
                  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) {
                    kvm.mmuLock().unlock(LockMode.SHARED);
                    Errno status = super.setExternalSpte(kvm, gfn, level, spte);
                    kvm.mmuLock().lock(LockMode.SHARED);
                    return status;
                  }
                }),
        kvm("KVM.2", "the mirror entry during OpCall[op=set_external_spte", Deferring::new),
        kvm(
            "KVM.3",
            "a fault in which",
            ops ->
                new InterposedOps(ops) {
                  @Override
                  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) {
                    Errno status = super.setExternalSpte(kvm, gfn, level, spte);
                    return status == Errno.EBUSY ? Errno.OK : status;
                  }
                }),
        kvm(
            "KVM.4",
            "whose first split_external_spte returned EAGAIN",
            ops ->
                new WrongStatus(ops) {
                  @Override
                  Errno changed(Kvm kvm, Errno status) {
                    return status == Errno.EAGAIN ? Errno.EBUSY : status;
                  }
                }),
        kvm(
            "KVM.5",
            "a split whose split_external_spte returned",
            ops ->
                new WrongStatus(ops) {
                  @Override
                  Errno changed(Kvm kvm, Errno status) {
                    return status == Errno.EBUSY ? Errno.EIO : status;
                  }
                }),
        kvm(
            "KVM.6",
            "on a backend that splits under the write mmu_lock only",
            ops ->
                new WrongStatus(ops) {
                  @Override
                  Errno changed(Kvm kvm, Errno status) {
                    return status == Errno.EOPNOTSUPP ? Errno.EBUSY : status;
                  }
                }),
        kvm(
            "KVM.7",
            "whose split was refused",
            ops ->
                new WrongStatus(ops) {
                  @Override
                  Errno changed(Kvm kvm, Errno status) {
                    boolean converts = kvm.kernel().locks().held().contains(LockClass.SLOTS_LOCK);
                    return converts ? Errno.OK : status;
                  }
                }),
        kvm(
            "KVM.8",
            "of those on the split cache and on leafs",
            ops ->
                new InterposedOps(ops) {
                  private boolean isFirst = true;

                  @Override
                  public boolean needTopupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
                    boolean asks = isFirst;
                    isFirst = false;
                    return asks && super.needTopupExternalPerVmSplitCache(kvm, level);
                  }
                }),
        kvm(
            "KVM.9",
            "comes before the table that it is in",
            ops ->
                new InterposedOps(ops) {
                  @Override
                  public Errno linkExternalSpt(Kvm kvm, long gfn, PageLevel level, long spt) {
                    return level == LEVEL_2M
                        ? Errno.OK
                        : super.linkExternalSpt(kvm, gfn, level, spt);
                  }
                }),
        kvm(
            "KVM.10",
            "leafs that are still mapped at",
            ops ->
                new InterposedOps(ops) {
                  @Override
                  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long old) {
                    if (gfn % 512 != 1) {
                      super.removeExternalSpte(kvm, gfn, level, old);
                    }
                  }
                }),
        kvm(
            "KVM.11",
            "for two faults of one gfn",
            IdempotentOps::new,
            ops ->
                new InterposedOps(ops) {
                  @Override
                  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) {
                    Errno status = super.setExternalSpte(kvm, gfn, level, spte);
                    return status.isError() ? status : super.setExternalSpte(kvm, gfn, level, spte);
                  }
                }));
  }

  /** The first 2M leaf is mapped when the second one is. */
  private static final class Deferring extends InterposedOps {
    private @Nullable Supplier<Errno> deferred;
    private boolean isFirst = true;

    Deferring(KvmX86Ops ops) {
      super(ops);
    }

    @Override
    public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) {
      if (isFirst) {
        isFirst = false;
        deferred = () -> super.setExternalSpte(kvm, gfn, level, spte);
        return Errno.OK;
      }
      if (deferred != null) {
        Errno unused = deferred.get();
        deferred = null;
      }
      return super.setExternalSpte(kvm, gfn, level, spte);
    }
  }
}
