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
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;
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

  static Wrong reference(String rule, String says, Supplier<KvmX86Ops> ops) {
    return new Wrong(rule, new RefusableSubject(AlteredBackend.reference(ops)), says);
  }

  static Wrong caching(String rule, String says, Supplier<KvmX86Ops> ops) {
    return new Wrong(rule, new RefusableSubject(AlteredBackend.caching(ops)), says);
  }

  static Wrong showing(
      String rule, String says, Supplier<KvmX86Ops> ops, ToLongFunction<CachingVm> morePages) {
    AlteredBackend backend =
        AlteredBackend.reference(ops)
            .showing(kvm -> view -> new WithMorePages(CachingVm.of(kvm), morePages));
    return new Wrong(rule, new RefusableSubject(backend), says);
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
  static class OpsWithRefusal extends ReferenceOps {
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
        .addAll(WrongSplitCaches.all())
        .addAll(WrongTables.all())
        .addAll(failures())
        .addAll(races())
        .addAll(ends())
        .addAll(WrongKvms.all())
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
}
