package dev.septum.mmu;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import java.util.EnumSet;
import java.util.Set;

/**
 * What dirty logging does to the page tables: splits, write protection, and the way back.
 *
 * <p>Only direct roots are protected: private memory can't be logged.
 */
final class DirtyLogging {

  private static final Set<GfnKind> SHARED = EnumSet.of(GfnKind.SHARED);

  private final KvmMmu mmu;
  private final Kvm kvm;
  private final SpteFormat format;

  DirtyLogging(KvmMmu mmu) {
    this.mmu = mmu;
    this.kvm = mmu.kvm();
    this.format = mmu.format();
  }

  /**
   * A slot began to log ({@code kvm_mmu_slot_apply_flags}): everything mapped is split to 4K and
   * write-protected. slots_lock held, mmu_lock not.
   */
  void enabled(Memslot slot) {
    if (mmu.dirtyTracking().isInitiallySet()) {
      // Every page counts as dirty already: CLEAR will protect what it clears.
      return;
    }
    if (mmu.module().isEagerPageSplit()) {
      withMmuLock(LockMode.SHARED, () -> trySplit(slot, slot.gfns(), LockMode.SHARED));
    }
    withMmuLock(LockMode.SHARED, () -> forEachRoot(slot, root -> writeProtect(root, slot)));
    kvm.flushRemoteTlbs();
  }

  /** A slot logs no more: huge pages come back. slots_lock held, mmu_lock not. */
  void disabled(Memslot slot) {
    HugePageRecovery recovery = mmu.module().generation().recovery();
    withMmuLock(
        LockMode.SHARED, () -> forEachRoot(slot, root -> recovery.recover(mmu, root, slot)));
  }

  /**
   * Write-protects pages whose dirty bits were just cleared ({@code
   * kvm_arch_mmu_enable_log_dirty_pt_masked}). mmu_lock held for write, and dropped meanwhile if
   * huge pages are split.
   *
   * @param word which 64 pages of the slot
   * @param mask the pages among them
   * @return whether there were any: a TLB flush must follow
   */
  boolean protectAgain(Memslot slot, int word, long mask) {
    return protectAgain(slot, (long) word * DirtyBitmap.WORD_PAGES, mask);
  }

  /** The same for 64 pages from any page of the slot on. */
  boolean protectAgain(Memslot slot, long offset, long mask) {
    kvm.mmuLock().assertHeld(LockMode.EXCLUSIVE);
    if (mask == 0) {
      return false;
    }
    long base = slot.gfns().start() + offset;
    if (mmu.dirtyTracking().isInitiallySet()) {
      // Enabling left huge leafs writable: this is where they are dealt with.
      GfnRange dirty =
          new GfnRange(
              base + Long.numberOfTrailingZeros(mask), base + 64 - Long.numberOfLeadingZeros(mask));
      if (mmu.module().isEagerPageSplit()) {
        trySplit(slot, dirty, LockMode.EXCLUSIVE);
      }
      writeProtectHugeLeaf(slot, dirty.start());
      if (mmu.params().boundary().crosses(dirty)) {
        writeProtectHugeLeaf(slot, dirty.end() - 1);
      }
    }
    forEachRoot(slot, root -> writeProtectMasked(root, base, mask));
    return true;
  }

  /**
   * Splits what is huge in a range of a slot, as far as memory allows ({@code
   * kvm_tdp_mmu_try_split_huge_pages}). mmu_lock held in that mode, dropped and taken again.
   */
  private void trySplit(Memslot slot, GfnRange range, LockMode mode) {
    mmu.splitHugePages(slot.asId(), range, PageLevel.LEVEL_4K, mode, SplitCause.DIRTY_LOG);
  }

  /** {@code wrprot_gfn_range} down to 4K. mmu_lock held for read. */
  private void writeProtect(MmuPage root, Memslot slot) {
    SpteWriter writer = SpteWriter.forMode(mmu, LockMode.SHARED);
    kvm.kernel().rcu().readLock();
    try {
      TdpIter iter =
          new TdpIter(mmu, root, PageLevel.LEVEL_4K, slot.gfns().start(), slot.gfns().end());
      while (iter.isValid()) {
        boolean lostRace = false;
        if (!iter.condResched(LockMode.SHARED)
            && format.isPresentLeaf(iter.oldSpte(), iter.level())
            && format.isWritable(iter.oldSpte())) {
          lostRace = writer.set(iter, format.writeProtect(iter.oldSpte())).isError();
        }
        if (!lostRace) {
          iter.next();
        }
      }
    } finally {
      kvm.kernel().rcu().readUnlock();
    }
  }

  /**
   * Takes the write permission of the huge leaf around a gfn, and the right to get it back without
   * a lock ({@code kvm_tdp_mmu_write_protect_gfn}). mmu_lock held for write.
   */
  private void writeProtectHugeLeaf(Memslot slot, long gfn) {
    SpteWriter writer = SpteWriter.forMode(mmu, LockMode.EXCLUSIVE);
    forEachRoot(
        slot,
        root -> {
          kvm.kernel().rcu().readLock();
          try {
            TdpIter iter = new TdpIter(mmu, root, PageLevel.LEVEL_2M, gfn, gfn + 1);
            for (; iter.isValid(); iter.next()) {
              long tracked = format.writeTrack(iter.oldSpte());
              if (format.isPresentLeaf(iter.oldSpte(), iter.level()) && tracked != iter.oldSpte()) {
                writer.set(iter, tracked);
              }
            }
          } finally {
            kvm.kernel().rcu().readUnlock();
          }
        });
  }

  /** {@code clear_dirty_pt_masked}: 4K leafs only. mmu_lock held for write, never dropped. */
  private void writeProtectMasked(MmuPage root, long base, long mask) {
    kvm.kernel().rcu().readLock();
    try {
      TdpIter iter =
          new TdpIter(
              mmu,
              root,
              PageLevel.LEVEL_4K,
              base + Long.numberOfTrailingZeros(mask),
              base + DirtyBitmap.WORD_PAGES);
      for (long left = mask; left != 0 && iter.isValid(); iter.next()) {
        if (iter.level() == PageLevel.LEVEL_4K
            && format.isPresent(iter.oldSpte())
            && (left & (1L << (iter.gfn() - base))) != 0) {
          left &= ~(1L << (iter.gfn() - base));
          writeProtectLeaf(iter);
        }
      }
    } finally {
      kvm.kernel().rcu().readUnlock();
    }
  }

  private void writeProtectLeaf(TdpIter iter) {
    if (format.isWritable(iter.oldSpte())) {
      long old = iter.table().spt().getAndBitwiseAnd(iter.index(), format.writeProtect(-1L));
      mmu.trace().spteChanged(iter, old, format.writeProtect(old));
    }
  }

  private interface RootVisitor {
    void visit(MmuPage root);
  }

  private void forEachRoot(Memslot slot, RootVisitor visitor) {
    mmu.roots()
        .forEach(
            mmu.roots().valid(SHARED, slot.asId()),
            root -> {
              visitor.visit(root);
              return true;
            });
  }

  private void withMmuLock(LockMode mode, Runnable body) {
    kvm.mmuLock().lock(mode);
    try {
      body.run();
    } finally {
      kvm.mmuLock().unlock(mode);
    }
  }
}
