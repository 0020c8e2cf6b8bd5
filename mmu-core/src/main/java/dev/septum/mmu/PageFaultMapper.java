package dev.septum.mmu;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VcpuStat;
import dev.septum.mmu.SplitDesign.FaultSplits;

/**
 * Installs what a fault resolved to, table by table ({@code kvm_tdp_mmu_map}). mmu_lock held for
 * read; nothing here sleeps or allocates.
 */
final class PageFaultMapper {

  private final KvmMmu mmu;
  private final Kvm kvm;
  private final SpteFormat format;
  private final SpteWriter writer;
  private final MappingLevels levels;

  PageFaultMapper(KvmMmu mmu) {
    this.mmu = mmu;
    this.kvm = mmu.kvm();
    this.format = mmu.format();
    this.writer = SpteWriter.forMode(mmu, LockMode.SHARED);
    this.levels = new MappingLevels(mmu);
  }

  RetPf map(VcpuMmu vcpu, PageFault fault) {
    levels.adjust(fault);
    mmu.trace().spteRequested(fault);
    kvm.kernel().rcu().readLock();
    try {
      return walk(vcpu, fault);
    } finally {
      kvm.kernel().rcu().readUnlock();
    }
  }

  private RetPf walk(VcpuMmu vcpu, PageFault fault) {
    long gfn = fault.gfn();
    TdpIter iter = new TdpIter(mmu, vcpu.rootFor(fault), PageLevel.LEVEL_4K, gfn, gfn + 1);
    for (; iter.isValid(); iter.next()) {
      levels.keepTable(fault, iter);
      if (iter.oldSpte() == SpteFormat.FROZEN) {
        return RetPf.RETRY;
      }
      if (iter.level() == fault.goalLevel()) {
        return mapTarget(vcpu, fault, iter);
      }
      if (format.isPresentTable(iter.oldSpte(), iter.level())) {
        continue;
      }
      if (iter.isMirror()
          && format.isPresentHuge(iter.oldSpte())
          && mmu.params().splitDesign().faultSplits() == FaultSplits.BY_WALK) {
        fault.setMirrorLeafInTheWay(GfnRange.ofPages(iter.gfn(), iter.level().pages()));
        return RetPf.RETRY;
      }
      if (linkTable(vcpu, fault, iter).isError()) {
        return RetPf.RETRY;
      }
    }
    // The walk reached an entry whose table changed under it.
    return RetPf.RETRY;
  }

  /** Puts a table where there is none, or where a huge leaf of a direct root is in the way. */
  private Errno linkTable(VcpuMmu vcpu, PageFault fault, TdpIter iter) {
    MmuPage table = vcpu.allocPage();
    table.init(iter.table().role().child(), iter.gfn(), iter.table(), iter.index());
    mmu.trace().getPage(table);
    if (iter.isMirror()) {
      long external = vcpu.allocExternalSpt();
      if (external == PageAllocator.NO_PAGE) {
        mmu.freeUnlinked(table);
        return Errno.ENOMEM;
      }
      table.setExternalSpt(external);
    }
    if (fault.isHugePageDisallowed()) {
      table.disallowNxHugePage();
    }
    Errno error =
        format.isPresent(iter.oldSpte())
            ? HugePageSplitter.linkSplitTable(mmu, writer, iter, table, SplitCause.FAULT)
            : mmu.linkTable(writer, iter, table);
    if (error.isError()) {
      mmu.freeUnlinked(table);
    } else if (fault.isHugePageDisallowed() && !iter.level().isAbove(fault.reqLevel())) {
      mmu.nxHugePages().track(table);
    }
    return error;
  }

  /** {@code make_spte}: a page becomes dirty when it becomes writable, not when it is written. */
  private long makeLeaf(VcpuMmu vcpu, PageFault fault, TdpIter iter) {
    long spte =
        format.makeLeaf(
            iter.level(),
            fault.pfn(),
            new LeafTraits(fault.isMapWritable(), fault.isPrefetch(), false),
            iter.level() == PageLevel.LEVEL_4K || !mmu.isNxHugePages());
    if (!format.isWritable(spte)) {
      return spte;
    }
    mmu.dirtyTracking().markDirty(vcpu, fault.slot(), fault.gfn());
    // The kernel asks the old value's bits whatever it is: an MMIO SPTE of NPT counts as well.
    boolean wasWritable =
        format.isLeaf(iter.oldSpte(), iter.level()) && format.isWritable(iter.oldSpte());
    return wasWritable && mmu.module().generation().leavesDirtyToHardware()
        ? format.clearDirty(spte)
        : spte;
  }

  /** {@code tdp_mmu_map_handle_target_level}. */
  private RetPf mapTarget(VcpuMmu vcpu, PageFault fault, TdpIter iter) {
    long old = iter.oldSpte();
    if (format.isPresentLeaf(old, iter.level())
        && !mmu.module().generation().rewritesAccessibleLeafs()
        && (fault.isPrefetch() || format.isAccessAllowed(fault, old))) {
      return RetPf.SPURIOUS;
    }
    boolean mmio = fault.slot() == null;
    long newSpte =
        mmio
            ? format.makeMmio(fault.gfn(), mmu.memslots().generation(vcpu.asId()))
            : makeLeaf(vcpu, fault, iter);
    if (newSpte != old) {
      if (writer.set(iter, newSpte).isError()) {
        return RetPf.RETRY;
      }
      if (format.isPresentTable(old, iter.level())) {
        kvm.flushRemoteTlbs();
      }
    }
    if (mmio) {
      vcpu.vcpu().stats().increment(VcpuStat.PF_MMIO_SPTE_CREATED);
      mmu.trace().markMmioSpte(iter, newSpte);
      return RetPf.EMULATE;
    }
    mmu.trace().setSpte(iter);
    return newSpte == old ? RetPf.SPURIOUS : RetPf.FIXED;
  }
}
