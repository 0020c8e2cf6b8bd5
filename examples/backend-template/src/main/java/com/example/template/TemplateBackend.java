package com.example.template;

import dev.septum.kernel.*;
import dev.septum.kvm.*;
import java.util.*;
import java.util.function.Function;

/** A backend to start from: its external page table is two maps. Numbers are of docs/spec.md. */
public final class TemplateBackend implements KvmBackend, KvmX86Ops {
  /** A VM with its external page table. END.3: what is a VM's is here and not in the ops. */
  private static final class Vm extends Kvm {
    final SpinLock lock = kernel().spinLock(LockClass.EXTERNAL_TABLE_LOCK); // RACE, CALL.6
    final TreeMap<Long, ExternalTable.Leaf> leafs = new TreeMap<>(); // by gfn
    final Map<Long, ExternalTable.Table> tables = new HashMap<>(); // by pfn
    boolean refusesSplit;
    Vm(int id, Host host, KvmX86Ops ops, VmType type) { super(id, host, ops, type); }
  }

  /** A vCPU with pages for new tables. FAULT: only its own thread uses them, so without a lock. */
  private static final class CachingVcpu extends Vcpu {
    final Deque<Long> cache = new ArrayDeque<>();
    CachingVcpu(Kvm kvm, int id) { super(kvm, id); }
  }

  public String name() { return "template"; }
  public String description() { return "a backend to start from"; }
  public KvmX86Ops hardwareSetup(Host host) { return this; }
  public Kvm newVm(int id, Host host, KvmX86Ops ops, VmType type) { return new Vm(id, host, ops, type); }
  public Vcpu newVcpu(Kvm kvm, int id) { return new CachingVcpu(kvm, id); }
  /** CAP: nobody asks for what is not here. SPLIT_CACHE is for splits that need pages: CACHE. */
  public Set<Capability> capabilities() {
    return Set.of(Capability.EXTERNAL_PAGE_TABLE, Capability.HUGE_LEAFS, Capability.SHARED_SPLIT);
  }
  public PageLevel gmemMaxMappingLevel(Kvm kvm, long pfn, boolean isPrivate) { // CAP.2
    return isPrivate ? PageLevel.LEVEL_2M : PageLevel.NONE;
  }

  private static <T> T locked(Kvm kvm, Function<Vm, T> body) { // CALL.4: every op ends unlocked
    ((Vm) kvm).lock.lock();
    try { return body.apply((Vm) kvm); } finally { ((Vm) kvm).lock.unlock(); }
  }
  /** CALL.1: no op throws. What KVM never does (KVM.2, KVM.11) bugs the VM, and the op failed. */
  private static Errno unless(boolean isWrong, Kvm kvm, String bug) {
    return kvm.bugOn(isWrong, bug) ? Errno.EIO : Errno.OK;
  }
  public Errno linkExternalSpt(Kvm kvm, long gfn, PageLevel level, long page) { // TABLE.1
    kvm.pages().changeOwner(page, PageOwner.EXTERNAL_PAGE_TABLE, PageOwner.SEPT_PAGE);
    var table = new ExternalTable.Table(gfn, level, page);
    return unless(locked(kvm, vm -> vm.tables.put(page, table)) != null, kvm, "linked twice");
  }
  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) { // TABLE.2
    var leaf = new ExternalTable.Leaf(gfn, level, MirrorSpte.pfn(spte));
    return unless(locked(kvm, vm -> vm.leafs.put(gfn, leaf)) != null, kvm, "mapped twice");
  }
  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) { // TABLE.3
    unless(locked(kvm, vm -> vm.leafs.remove(gfn)) == null, kvm, "no leaf to remove");
  }
  public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long page) { // TABLE.4
    kvm.pages().changeOwner(page, PageOwner.SEPT_PAGE, PageOwner.EXTERNAL_PAGE_TABLE);
    return unless(locked(kvm, vm -> vm.tables.remove(page)) == null, kvm, "no table");
  }
  /** SPLIT.2, SPLIT.3. CAP.4: the lock is all it takes in either mode. */
  public Errno splitExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte, long page, LockMode mode) {
    boolean isRefused = locked(kvm, vm -> {
      if (vm.refusesSplit) { vm.refusesSplit = false; return true; } // SPLIT.5: nothing has changed
      PageLevel small = level.below(); // the first of them takes the huge leaf's place
      for (long at = gfn; at < gfn + level.pages(); at += small.pages())
        vm.leafs.put(at, new ExternalTable.Leaf(at, small, MirrorSpte.pfn(spte) + at - gfn));
      return false;
    });
    return isRefused ? Errno.EBUSY : linkExternalSpt(kvm, gfn, level, page);
  }
  public boolean refuseNextSplit(Kvm kvm) { return locked(kvm, vm -> vm.refusesSplit = true); } // for the kit

  public Errno topupExternalFaultCache(Vcpu vcpu, int count) { // FAULT.1, FAULT.2
    for (Deque<Long> cache = ((CachingVcpu) vcpu).cache; cache.size() < count; ) {
      long page = vcpu.kvm().pages().allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.KERNEL_ACCOUNT);
      if (page == PageAllocator.NO_PAGE) return Errno.ENOMEM;
      cache.push(page);
    }
    return Errno.OK;
  }
  public long allocExternalFaultCache(Vcpu vcpu) { // FAULT.3; CALL.5: under mmu_lock nothing sleeps
    return Objects.requireNonNullElse(((CachingVcpu) vcpu).cache.poll(), PageAllocator.NO_PAGE);
  }
  public void freeExternalFaultCache(Vcpu vcpu) { // FAULT.5
    for (Deque<Long> cache = ((CachingVcpu) vcpu).cache; !cache.isEmpty(); )
      vcpu.kvm().pages().freePage(cache.pop(), PageOwner.EXTERNAL_PAGE_TABLE);
  }

  /** What guests walk and checkers compare with the mirror: TABLE.5. */
  public ExternalTable externalTable(Kvm kvm) {
    return new ExternalTable() {
      public List<Leaf> leafs() { return locked(kvm, vm -> List.copyOf(vm.leafs.values())); }
      public List<Table> tables() { return locked(kvm, vm -> List.copyOf(vm.tables.values())); }
      public Leaf walk(long gfn) {
        var below = locked(kvm, vm -> vm.leafs.floorEntry(gfn));
        Leaf leaf = below == null ? null : below.getValue();
        return leaf != null && gfn < leaf.gfn() + leaf.level().pages() ? leaf : null;
      }
      public Map<PageOwner, Long> pages() {
        long cached = kvm.vcpus().stream().mapToLong(vcpu -> ((CachingVcpu) vcpu).cache.size()).sum();
        return Map.of(PageOwner.SEPT_PAGE, (long) tables().size(), PageOwner.EXTERNAL_PAGE_TABLE, cached);
      }
    };
  }
}
