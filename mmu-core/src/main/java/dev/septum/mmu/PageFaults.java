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

  /** {@code PFERR_GUEST_FINAL}. */
  private static final long GUEST_FINAL = 1L << 32;

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
    return mmu.memslots().reading(() -> handleReading(vcpu, gpa, errorCode));
  }

  private FaultOutcome handleReading(VcpuMmu vcpu, long gpa, long errorCode) {
    PageFault fault = newFault(vcpu, gpa, withSoftwareKind(gpa, errorCode), false);
    if (fault.isReserved()) {
      RetPf mmio = mmioPageFault(vcpu, fault);
      if (mmio != RetPf.INVALID) {
        return FaultOutcome.of(mmio);
      }
    }
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

  private PageFault newFault(VcpuMmu vcpu, long gpa, long errorCode, boolean prefetch) {
    PageFault fault = new PageFault(mmu, gpa, errorCode, prefetch);
    fault.setSlot(mmu.memslots().find(vcpu.asId(), fault.gfn()));
    return fault;
  }

  /**
   * The guest met an MMIO SPTE: emulate, unless memslots changed since it was made ({@code
   * handle_mmio_page_fault}); INVALID if it is out of date.
   */
  private RetPf mmioPageFault(VcpuMmu vcpu, PageFault fault) {
    if (vcpu.mmioCache().matches(fault.gpa())) {
      return RetPf.EMULATE;
    }
    long spte = lastSpte(vcpu, fault.gfn());
    if (!format.isMmio(spte)) {
      // Somebody zapped or replaced the entry since the processor read it.
      return RetPf.RETRY;
    }
    long kvmGeneration = SpteFormat.truncateGeneration(mmu.memslots().generation(vcpu.asId()));
    long spteGeneration = format.mmioGeneration(spte);
    mmu.trace().checkMmioSpte(spte, kvmGeneration, spteGeneration);
    if (spteGeneration != kvmGeneration) {
      return RetPf.INVALID;
    }
    mmu.trace().handleMmioPageFault(format.mmioGfn(spte), format.mmioAccess(spte));
    vcpu.mmioCache().remember(format.mmioGfn(spte));
    return RetPf.EMULATE;
  }

  private long lastSpte(VcpuMmu vcpu, long gfn) {
    kvm.kernel().rcu().readLock();
    try {
      return TdpIter.lastEntry(mmu, vcpu.directRoot(), gfn).oldSpte();
    } finally {
      kvm.kernel().rcu().readUnlock();
    }
  }

  /** How one page of a prefault ended, and how large the mapping is that it found or made. */
  private record PreFaultStep(Errno error, PageLevel level) {}

  /** {@code kvm_vcpu_pre_fault_memory}: page by page, until one can't be mapped. */
  PreFault preFault(VcpuMmu vcpu, long gpa, long size) {
    if (kvm.isBugged()) {
      return new PreFault(Errno.EIO, size);
    }
    if ((gpa & 4095) != 0 || (size & 4095) != 0 || gpa + size <= gpa) {
      return new PreFault(Errno.EINVAL, size);
    }
    return mmu.isPreFaultAllowed()
        ? mmu.memslots().reading(() -> preFaultRange(vcpu, gpa, gpa + size))
        : new PreFault(Errno.EOPNOTSUPP, size);
  }

  private PreFault preFaultRange(VcpuMmu vcpu, long start, long end) {
    Errno error = Errno.OK;
    long at = start;
    while (at < end && !error.isError()) {
      PreFaultStep step = preFaultPage(vcpu, at);
      error = step.error;
      if (!error.isError()) {
        long gfn = step.level.alignDown(at >>> 12) + step.level.pages();
        at = Math.min(end, gfn << 12);
      }
    }
    return new PreFault(at > start ? Errno.OK : error, end - at);
  }

  /** {@code kvm_tdp_map_page}. */
  private PreFaultStep preFaultPage(VcpuMmu vcpu, long gpa) {
    if (((gpa >>> 12) & mmu.gfnDirectBits()) != 0) {
      return new PreFaultStep(Errno.EINVAL, PageLevel.NONE);
    }
    PageFault fault;
    FaultOutcome outcome;
    do {
      kvm.kernel().condResched();
      Errno error = kvm.isBugged() ? Errno.EIO : vcpu.load();
      if (error.isError()) {
        return new PreFaultStep(error, PageLevel.NONE);
      }
      // What made the attempt retry may have changed slot, backing and level: start afresh.
      fault = newPreFault(vcpu, gpa);
      outcome = fault(vcpu, fault);
    } while (outcome.result() == RetPf.RETRY);
    return new PreFaultStep(preFaultError(outcome), fault.goalLevel());
  }

  private PageFault newPreFault(VcpuMmu vcpu, long gpa) {
    return mmu.isPrivate(gpa >>> 12)
        ? newFault(vcpu, gpa, GUEST_FINAL | PageFault.PRIVATE, true)
        : newFault(vcpu, gpa | (mmu.gfnDirectBits() << 12), GUEST_FINAL, true);
  }

  private static Errno preFaultError(FaultOutcome outcome) {
    return switch (outcome.result()) {
      case FIXED, SPURIOUS, WRITE_PROTECTED -> Errno.OK;
      case EMULATE -> Errno.ENOENT;
      case ERROR -> outcome.error();
      default -> Errno.EIO;
    };
  }

  /**
   * Maps one private page while the TD is built ({@code kvm_tdp_mmu_map_private_pfn}). slots_lock
   * held: nothing can be invalidated meanwhile.
   */
  Errno mapPrivatePage(VcpuMmu vcpu, long gfn) {
    kvm.slotsLock().assertHeld();
    Memslot slot = mmu.memslots().find(gfn);
    GuestMemfd gmem = slot == null ? null : slot.gmem();
    if (slot == null || gmem == null || !mmu.isPrivate(gfn)) {
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
      Errno error = loadAndTopup(vcpu);
      if (error.isError()) {
        return error;
      }
      if (kvm.isBugged()) {
        return Errno.EIO;
      }
      kvm.mmuLock().lock(LockMode.SHARED);
      try {
        result = map(vcpu, fault);
      } finally {
        kvm.mmuLock().unlock(LockMode.SHARED);
      }
    } while (result == RetPf.RETRY);
    return result == RetPf.FIXED ? Errno.OK : Errno.EIO;
  }

  /** Without hardware that tells private from shared accesses, the attribute tells. */
  private long withSoftwareKind(long gpa, long errorCode) {
    boolean isPrivate = kvm.type() == VmType.SW_PROTECTED && mmu.isPrivate(gpa >>> 12);
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
    FaultOutcome resolved = faultInPfn(vcpu, fault);
    if (resolved.result() != RetPf.CONTINUE) {
      return resolved;
    }
    RetPf result;
    kvm.mmuLock().lock(LockMode.SHARED);
    try {
      result = isStale(vcpu, fault) ? RetPf.RETRY : map(vcpu, fault);
    } finally {
      kvm.mmuLock().unlock(LockMode.SHARED);
    }
    GfnRange mirrorLeaf = fault.mirrorLeafInTheWay();
    return mirrorLeaf == null ? FaultOutcome.of(result) : splitForFault(vcpu, fault, mirrorLeaf);
  }

  private static Errno loadAndTopup(VcpuMmu vcpu) {
    Errno error = vcpu.load();
    return error.isError() ? error : vcpu.topup();
  }

  private RetPf map(VcpuMmu vcpu, PageFault fault) {
    RetPf result = mapper.map(vcpu, fault);
    mmu.trace().mapReturned(result);
    return result;
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
      return HugePageSplitter.split(mmu, root, leaf, target, mode, SplitCause.FAULT);
    } finally {
      kvm.mmuLock().unlock(mode);
    }
  }

  private boolean isStale(VcpuMmu vcpu, PageFault fault) {
    return vcpu.directRoot().isInvalidRoot()
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
          if (format.isWritable(newSpte) && !format.isWritable(found)) {
            mmu.dirtyTracking().markDirty(vcpu, fault.slot(), fault.gfn());
          }
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
    if (!fault.isWrite() || !format.isMmuWritable(spte)) {
      return spte;
    }
    Memslot slot = fault.slot();
    // One write must not make a huge page dirty: the slow path splits it.
    boolean mustSplit = iter.level() != PageLevel.LEVEL_4K && slot != null && slot.isLogging();
    return mustSplit ? iter.oldSpte() : format.makeWritable(spte);
  }

  /** Finds the host page behind the fault ({@code kvm_mmu_faultin_pfn}). */
  private FaultOutcome faultInPfn(VcpuMmu vcpu, PageFault fault) {
    fault.setMmuSeq(mmu.invalidate().seq());
    if (fault.isPrivate() != mmu.isPrivate(fault.gfn())) {
      return FaultOutcome.memoryFault(Errno.EFAULT, fault);
    }
    Memslot slot = fault.slot();
    if (slot == null) {
      return noSlot(vcpu, fault);
    }
    if (slot.isInvalid() && fault.isPrefetch()) {
      return FaultOutcome.error(Errno.EAGAIN);
    }
    if (slot.isInvalid() || mmu.invalidate().mustRetry(fault.mmuSeq(), fault.gfn())) {
      return FaultOutcome.of(RetPf.RETRY);
    }
    boolean inFile = fault.isPrivate() || slot.isConverted(fault.gfn());
    FaultOutcome resolved = inFile ? faultInGmem(fault, slot) : faultInHva(fault, slot);
    // An invalidation that began while the page was looked up makes the page worthless.
    return resolved.result() == RetPf.CONTINUE
            && mmu.invalidate().mustRetry(fault.mmuSeq(), fault.gfn())
        ? FaultOutcome.of(RetPf.RETRY)
        : resolved;
  }

  /** {@code kvm_handle_noslot_fault}: an MMIO SPTE will say that there is no memory. */
  private FaultOutcome noSlot(VcpuMmu vcpu, PageFault fault) {
    if (fault.isPrivate()) {
      return FaultOutcome.memoryFault(Errno.EFAULT, fault);
    }
    vcpu.mmioCache().remember(fault.gfn());
    return FaultOutcome.of(fault.gfn() < mmu.maxGfnPlusOne() ? RetPf.CONTINUE : RetPf.EMULATE);
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
