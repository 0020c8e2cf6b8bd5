package dev.septum.mmu;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VcpuStat;
import dev.septum.kvm.VmType;
import org.jspecify.annotations.Nullable;

/**
 * Page faults: from the address that the guest missed to a mapping in the right root ({@code
 * kvm_mmu_page_fault} to {@code kvm_tdp_mmu_page_fault}).
 */
final class PageFaults {

  private static final int FAST_ATTEMPTS = 5;

  private final KvmMmu mmu;
  private final Kvm kvm;
  private final SpteFormat format;
  private final PageFaultMapper mapper;

  PageFaults(KvmMmu mmu) {
    this.mmu = mmu;
    this.kvm = mmu.kvm();
    this.format = mmu.format();
    this.mapper = new PageFaultMapper(mmu);
  }

  /** Handles one fault of a running vCPU. No lock held; may sleep. */
  FaultOutcome handle(VcpuMmu vcpu, long gpa, long errorCode) {
    PageFault fault = new PageFault(mmu, gpa, withSoftwareKind(gpa, errorCode), false);
    fault.setSlot(mmu.memslots().find(fault.gfn()));
    vcpu.vcpu().stats().increment(VcpuStat.PF_TAKEN);
    FaultOutcome outcome = fault(vcpu, fault);
    if (outcome.result() == RetPf.EMULATE && fault.isPrivate()) {
      return FaultOutcome.memoryFault(Errno.EFAULT, fault);
    }
    switch (outcome.result()) {
      case FIXED -> vcpu.vcpu().stats().increment(VcpuStat.PF_FIXED);
      case EMULATE -> vcpu.vcpu().stats().increment(VcpuStat.PF_EMULATE);
      case SPURIOUS -> vcpu.vcpu().stats().increment(VcpuStat.PF_SPURIOUS);
      case RETRY -> mmu.counters().increment(MmuCounter.FAULT_RETRIES);
      default -> {}
    }
    return outcome;
  }

  /**
   * Maps one private page while the TD is built ({@code kvm_tdp_mmu_map_private_pfn}). slots_lock
   * held: nothing can be invalidated meanwhile.
   */
  Errno mapPrivatePage(VcpuMmu vcpu, long gfn) {
    kvm.slotsLock().assertHeld();
    Memslot slot = mmu.memslots().find(gfn);
    GuestMemfd gmem = slot == null ? null : slot.gmem();
    if (slot == null || gmem == null || !mmu.attributes().isPrivate(gfn)) {
      return Errno.EINVAL;
    }
    GuestMemfd.Lookup found = gmem.getPfn(slot.gmemIndex(gfn));
    if (found.error().isError()) {
      return found.error();
    }
    PageFault fault = new PageFault(mmu, gfn << 12, KvmMmu.privateWriteError(), true);
    fault.setSlot(slot);
    fault.resolve(found.pfn(), true, PageLevel.LEVEL_4K);
    RetPf result;
    do {
      Errno error = vcpu.load();
      if (error.isError()) {
        return error;
      }
      if (kvm.isBugged()) {
        return Errno.EIO;
      }
      kvm.mmuLock().lock(LockMode.SHARED);
      try {
        result = mapper.map(vcpu, fault);
      } finally {
        kvm.mmuLock().unlock(LockMode.SHARED);
      }
    } while (result == RetPf.RETRY);
    return result == RetPf.FIXED ? Errno.OK : Errno.EIO;
  }

  /** Without hardware that tells private from shared accesses, the attribute tells. */
  private long withSoftwareKind(long gpa, long errorCode) {
    boolean isPrivate = kvm.type() == VmType.SW_PROTECTED && mmu.attributes().isPrivate(gpa >>> 12);
    return isPrivate ? errorCode | PageFault.PRIVATE : errorCode;
  }

  /** {@code kvm_tdp_mmu_page_fault}, in its order. */
  private FaultOutcome fault(VcpuMmu vcpu, PageFault fault) {
    RetPf fast = fastPageFault(vcpu, fault);
    if (fast != RetPf.INVALID) {
      return FaultOutcome.of(fast);
    }
    Errno error = vcpu.topup();
    if (error.isError()) {
      return FaultOutcome.error(error);
    }
    FaultOutcome resolved = faultInPfn(fault);
    if (resolved.result() != RetPf.CONTINUE) {
      return resolved;
    }
    RetPf result;
    kvm.mmuLock().lock(LockMode.SHARED);
    try {
      result = isStale(vcpu, fault) ? RetPf.RETRY : mapper.map(vcpu, fault);
    } finally {
      kvm.mmuLock().unlock(LockMode.SHARED);
    }
    GfnRange mirrorLeaf = fault.mirrorLeafInTheWay();
    return mirrorLeaf == null ? FaultOutcome.of(result) : splitForFault(vcpu, fault, mirrorLeaf);
  }

  /**
   * Splits the mirror leaf that stands in a fault's way, then has the guest fault again. Under the
   * read lock where the backend can, else under the write lock, so that the fault never loops.
   */
  private FaultOutcome splitForFault(VcpuMmu vcpu, PageFault fault, GfnRange leaf) {
    MmuPage root = vcpu.rootFor(fault);
    Errno error = split(root, leaf, fault.goalLevel(), LockMode.SHARED);
    if (error == Errno.EOPNOTSUPP) {
      error = split(root, leaf, fault.goalLevel(), LockMode.EXCLUSIVE);
    }
    boolean again = !error.isError() || error == Errno.EBUSY;
    return again ? FaultOutcome.of(RetPf.RETRY) : FaultOutcome.error(error);
  }

  private Errno split(MmuPage root, GfnRange leaf, PageLevel target, LockMode mode) {
    kvm.mmuLock().lock(mode);
    try {
      return HugePageSplitter.split(mmu, root, leaf, target, mode);
    } finally {
      kvm.mmuLock().unlock(mode);
    }
  }

  private boolean isStale(VcpuMmu vcpu, PageFault fault) {
    return vcpu.directRoot().role().isInvalid()
        || (fault.slot() != null && mmu.invalidate().mustRetry(fault.mmuSeq(), fault.gfn()));
  }

  /**
   * Gives back a permission that was taken away to watch the guest, without a lock ({@code
   * fast_page_fault}). Only direct roots: the module owns the permissions of private memory.
   */
  private RetPf fastPageFault(VcpuMmu vcpu, PageFault fault) {
    boolean kindMatches =
        !kvm.type().hasPrivateMemory()
            || fault.isPrivate() == mmu.attributes().isPrivate(fault.gfn());
    boolean fixable = fault.isPresent() ? fault.isWrite() : !format.isAdEnabled();
    if (fault.isReserved() || !kindMatches || !fixable) {
      return RetPf.INVALID;
    }
    kvm.kernel().rcu().readLock();
    try {
      RetPf result = RetPf.INVALID;
      @Nullable TdpIter iter = null;
      for (int attempt = 0; attempt < FAST_ATTEMPTS; attempt++) {
        iter = TdpIter.lastEntry(mmu, vcpu.directRoot(), fault.gfn());
        if (!format.isPresentLeaf(iter.oldSpte(), iter.level())) {
          break;
        }
        if (format.isAccessAllowed(fault, iter.oldSpte())) {
          result = RetPf.SPURIOUS;
          break;
        }
        long newSpte = fixed(fault, iter);
        if (newSpte == iter.oldSpte() || !format.isAccessAllowed(fault, newSpte)) {
          break;
        }
        // The entry may change between its read and this exchange: try again on the new value.
        long found = iter.table().spt().compareAndExchange(iter.index(), iter.oldSpte(), newSpte);
        if (found == iter.oldSpte()) {
          result = RetPf.FIXED;
          break;
        }
      }
      if (iter != null) {
        mmu.trace().fastPageFault(vcpu.vcpu().id(), fault, iter, result);
      }
      if (result != RetPf.INVALID) {
        vcpu.vcpu().stats().increment(VcpuStat.PF_FAST);
      }
      return result;
    } finally {
      kvm.kernel().rcu().readUnlock();
    }
  }

  private long fixed(PageFault fault, TdpIter iter) {
    long spte = iter.oldSpte();
    if (!format.isAdEnabled() && format.isAccessTracked(spte)) {
      spte = format.markAccessed(spte);
    }
    return fault.isWrite() && format.isMmuWritable(spte) ? format.makeWritable(spte) : spte;
  }

  /** Finds the host page behind the fault ({@code kvm_mmu_faultin_pfn}). */
  private FaultOutcome faultInPfn(PageFault fault) {
    fault.setMmuSeq(mmu.invalidate().seq());
    if (fault.isPrivate() != mmu.attributes().isPrivate(fault.gfn())) {
      return FaultOutcome.memoryFault(Errno.EFAULT, fault);
    }
    Memslot slot = fault.slot();
    if (slot == null) {
      return fault.isPrivate()
          ? FaultOutcome.memoryFault(Errno.EFAULT, fault)
          : FaultOutcome.of(RetPf.CONTINUE);
    }
    if (slot.isInvalid() || mmu.invalidate().mustRetry(fault.mmuSeq(), fault.gfn())) {
      return FaultOutcome.of(RetPf.RETRY);
    }
    FaultOutcome resolved = fault.isPrivate() ? faultInGmem(fault, slot) : faultInHva(fault, slot);
    // An invalidation that began while the page was looked up makes the page worthless.
    return resolved.result() == RetPf.CONTINUE
            && mmu.invalidate().mustRetry(fault.mmuSeq(), fault.gfn())
        ? FaultOutcome.of(RetPf.RETRY)
        : resolved;
  }

  private static FaultOutcome faultInGmem(PageFault fault, Memslot slot) {
    GuestMemfd gmem = slot.gmem();
    if (gmem == null) {
      return FaultOutcome.memoryFault(Errno.EFAULT, fault);
    }
    GuestMemfd.Lookup found = gmem.getPfn(slot.gmemIndex(fault.gfn()));
    if (found.error().isError()) {
      return FaultOutcome.memoryFault(found.error(), fault);
    }
    fault.resolve(found.pfn(), !slot.isReadOnly(), found.maxLevel());
    return FaultOutcome.of(RetPf.CONTINUE);
  }

  private FaultOutcome faultInHva(PageFault fault, Memslot slot) {
    if (slot.isReadOnly() && fault.isWrite()) {
      return FaultOutcome.of(RetPf.EMULATE);
    }
    long hva = slot.hva(fault.gfn());
    long pfn = mmu.hostMm().faultIn(hva, fault.isWrite());
    if (pfn == PageAllocator.NO_PAGE) {
      return FaultOutcome.error(Errno.EFAULT);
    }
    fault.resolve(pfn, !slot.isReadOnly() && mmu.hostMm().isWritable(hva), PageLevel.LEVEL_1G);
    return FaultOutcome.of(RetPf.CONTINUE);
  }
}
