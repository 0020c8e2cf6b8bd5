package dev.septum.mmu;

import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Predicate;

/**
 * What the host's memory management tells a VM about the VMM's address space ({@code
 * kvm_mmu_notifier_ops}). User addresses in bytes; no lock held.
 */
public final class MmuNotifier {

  private static final Set<GfnKind> SHARED = EnumSet.of(GfnKind.SHARED);

  /** The part of a slot that user addresses fall into. */
  private record Hit(Memslot slot, GfnRange gfns) {}

  private final KvmMmu mmu;
  private final Kvm kvm;
  private final SpteFormat format;

  MmuNotifier(KvmMmu mmu) {
    this.mmu = mmu;
    this.kvm = mmu.kvm();
    this.format = mmu.format();
  }

  /**
   * A range of addresses is unmapped, changed or moved: its leafs go, and what faults meanwhile
   * tries again ({@code invalidate_range_start} and {@code _end}).
   */
  public void invalidateRange(long startHva, long endHva) {
    invalidateRange(startHva, endHva, () -> {});
  }

  /** The same with the host's own change in the middle. */
  public void invalidateRange(long startHva, long endHva, Runnable change) {
    mmu.trace().unmapHvaRange(startHva, endHva);
    mmu.memslots()
        .reading(
            () -> {
              invalidateSlots(startHva, endHva, change);
              return Errno.OK;
            });
  }

  private void invalidateSlots(long startHva, long endHva, Runnable change) {
    List<Hit> hits = hits(startHva, endHva);
    if (hits.isEmpty()) {
      change.run();
      return;
    }
    mmu.withMmuLock(
        () -> {
          mmu.invalidate().begin();
          boolean flush = false;
          for (Hit hit : hits) {
            mmu.invalidate().addRange(hit.gfns);
            flush |= mmu.unmap(hit.slot.asId(), hit.gfns, SHARED);
          }
          if (flush) {
            kvm.flushRemoteTlbs();
          }
          return Errno.OK;
        });
    change.run();
    mmu.withMmuLock(
        () -> {
          mmu.invalidate().end();
          return Errno.OK;
        });
  }

  /**
   * Was any of these pages accessed since the last time? ({@code clear_young}) Accessed bits are
   * cleared; a TLB may still hold them, which nobody minds.
   */
  public boolean clearYoung(long startHva, long endHva) {
    mmu.trace().ageHva(startHva, endHva);
    return ageRange(startHva, endHva);
  }

  /**
   * As {@link #clearYoung}, with the TLB flush that 6.12 still does ({@code clear_flush_young}).
   */
  public boolean clearFlushYoung(long startHva, long endHva) {
    boolean young = clearYoung(startHva, endHva);
    if (young && mmu.module().generation() == KernelGeneration.LINUX_6_12) {
      kvm.flushRemoteTlbs();
    }
    return young;
  }

  /** Was the page accessed since the last time? Nothing is changed ({@code test_young}). */
  public boolean testYoung(long hva) {
    mmu.trace().testAgeHva(hva);
    boolean[] young = {false};
    forEachLeaf(
        hva,
        hva + 1,
        iter -> {
          young[0] |= isYoung(iter.oldSpte());
          return !young[0];
        });
    return young[0];
  }

  /** The VMM's address space goes, and all that it backs is zapped ({@code release}). */
  public void release() {
    mmu.withMmuLock(
        () -> {
          mmu.roots().zapAll();
          return Errno.OK;
        });
  }

  private boolean ageRange(long startHva, long endHva) {
    boolean[] young = {false};
    forEachLeaf(
        startHva,
        endHva,
        iter -> {
          if (isYoung(iter.oldSpte())) {
            young[0] = true;
            age(iter);
          }
          return true;
        });
    return young[0];
  }

  private boolean isYoung(long spte) {
    return format.isAdEnabled() ? format.isAccessed(spte) : !format.isAccessTracked(spte);
  }

  /** {@code kvm_tdp_mmu_age_spte}: with A/D bits hardware may set the bit again at any time. */
  private void age(TdpIter iter) {
    long old = iter.oldSpte();
    if (format.isAdEnabled()) {
      long mask = format.markForAccessTrack(-1L);
      old = iter.table().spt().getAndBitwiseAnd(iter.index(), mask);
    } else if (iter.table()
            .spt()
            .compareAndExchange(iter.index(), old, format.markForAccessTrack(old))
        != old) {
      // Somebody else changed the entry: it is young.
      return;
    }
    mmu.trace().spteChanged(iter, old, format.markForAccessTrack(old));
  }

  /** Walks without mmu_lock, as kernels since 6.13 do; answering false ends the walk. */
  private void forEachLeaf(long startHva, long endHva, Predicate<TdpIter> visitor) {
    kvm.kernel().rcu().readLock();
    try {
      for (Hit hit : hits(startHva, endHva)) {
        Consumer<MmuPage> visitRoot = root -> visitLeafs(root, hit.gfns, visitor);
        mmu.roots().valid(SHARED, hit.slot.asId()).forEach(visitRoot);
      }
    } finally {
      kvm.kernel().rcu().readUnlock();
    }
  }

  private void visitLeafs(MmuPage root, GfnRange gfns, Predicate<TdpIter> visitor) {
    TdpIter iter = new TdpIter(mmu, root, PageLevel.LEVEL_4K, gfns.start(), gfns.end());
    for (; iter.isValid(); iter.next()) {
      if (format.isPresentLeaf(iter.oldSpte(), iter.level()) && !visitor.test(iter)) {
        return;
      }
    }
  }

  private List<Hit> hits(long startHva, long endHva) {
    List<Hit> hits = new ArrayList<>();
    for (Memslot slot : mmu.memslots().everywhereByHva()) {
      GfnRange gfns = slot.gfnsOfHvas(startHva, endHva);
      if (!gfns.isEmpty()) {
        hits.add(new Hit(slot, gfns));
      }
    }
    return hits;
  }
}
