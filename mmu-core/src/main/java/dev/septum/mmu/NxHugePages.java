package dev.septum.mmu;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.SpinLock;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import java.util.LinkedHashSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The tables that stand only because an NX huge page was executed, and the worker that gives the
 * huge pages back ({@code possible_nx_huge_pages}).
 *
 * <p>The list and the flag of its tables are under tdp_mmu_pages_lock.
 */
final class NxHugePages {

  private final KvmMmu mmu;
  private final Kvm kvm;
  private final SpinLock pagesLock;
  private final Set<MmuPage> possible = new LinkedHashSet<>();

  NxHugePages(KvmMmu mmu, SpinLock pagesLock) {
    this.mmu = mmu;
    this.kvm = mmu.kvm();
    this.pagesLock = pagesLock;
  }

  /** Lists a linked table whose place a huge page could take ({@code track_possible_nx_…}). */
  void track(MmuPage table) {
    pagesLock.lock();
    try {
      // Another thread may have unlinked the table since it was linked.
      if (table.isNxHugePageDisallowed() && possible.add(table)) {
        kvm.stats().increment(VmStat.NX_LPAGE_SPLITS);
      }
    } finally {
      pagesLock.unlock();
    }
  }

  /** Forgets why a table stands, and unlists it if it was listed ({@code unaccount_…}). */
  void untrack(MmuPage table) {
    if (!table.isNxHugePageDisallowed()) {
      return;
    }
    pagesLock.lock();
    try {
      table.allowNxHugePage();
      if (possible.remove(table)) {
        kvm.stats().add(VmStat.NX_LPAGE_SPLITS, -1);
      }
    } finally {
      pagesLock.unlock();
    }
  }

  /**
   * Zaps the oldest tables, one in {@code nx_huge_pages_recovery_ratio} of them; those of a slot
   * that logs stay. Takes mmu_lock, and drops it when others wait ({@code
   * kvm_recover_nx_huge_pages}).
   */
  void recover() {
    LockMode mode = mmu.module().generation().nxRecoveryMode();
    long ratio = mmu.module().nxRecoveryRatio();
    kvm.mmuLock().lock(mode);
    kvm.kernel().rcu().readLock();
    try {
      long splits = kvm.stats().get(VmStat.NX_LPAGE_SPLITS);
      long toZap = ratio == 0 ? 0 : (splits + ratio - 1) / ratio;
      boolean flush = false;
      MmuPage table = oldest();
      for (; toZap > 0 && table != null; toZap--) {
        flush |= recover(table, mode);
        if (kvm.mmuLock().needBreak()) {
          flushIf(flush);
          flush = false;
          letOthersIn(mode);
        }
        table = oldest();
      }
      flushIf(flush);
    } finally {
      kvm.kernel().rcu().readUnlock();
      kvm.mmuLock().unlock(mode);
    }
  }

  private void flushIf(boolean flush) {
    if (flush) {
      kvm.flushRemoteTlbs();
    }
  }

  private void letOthersIn(LockMode mode) {
    mmu.counters().increment(MmuCounter.LOCK_DROPS_RESCHED);
    kvm.kernel().rcu().readUnlock();
    kvm.mmuLock().unlock(mode);
    kvm.kernel().condResched();
    kvm.mmuLock().lock(mode);
    kvm.kernel().rcu().readLock();
  }

  private @Nullable MmuPage oldest() {
    pagesLock.lock();
    try {
      return possible.isEmpty() ? null : possible.iterator().next();
    } finally {
      pagesLock.unlock();
    }
  }

  /** Unlists one table and zaps it if its slot does not log; true if TLBs must be flushed. */
  private boolean recover(MmuPage table, LockMode mode) {
    Memslot slot = mmu.memslots().find(table.role().asId(), table.gfn());
    untrack(table);
    return (slot == null || !slot.isLogging()) && zap(table, SpteWriter.forMode(mmu, mode));
  }

  /** {@code kvm_tdp_mmu_zap_possible_nx_huge_page}: false if the table is linked no more. */
  private boolean zap(MmuPage table, SpteWriter writer) {
    PageLevel entryLevel = table.role().level().above();
    TdpIter iter = new TdpIter(mmu, table.root(), entryLevel, table.gfn(), table.gfn() + 1);
    while (iter.isValid() && iter.level() != entryLevel) {
      iter.next();
    }
    return iter.isValid()
        && mmu.format().isPresentTable(iter.oldSpte(), entryLevel)
        && mmu.childPage(iter.oldSpte()) == table
        && !writer.set(iter, SpteFormat.NONPRESENT).isError();
  }
}
