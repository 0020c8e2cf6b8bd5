package dev.septum.mmu;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.PageLevel;

/**
 * A pre-order walk over the entries of one root ({@code struct tdp_iter}).
 *
 * <p>The one walk of this package: everything else visits. The current entry's value was read once,
 * into {@link #oldSpte}; whoever writes the entry compares with that. Used inside an RCU read
 * section.
 */
final class TdpIter {

  private final KvmMmu mmu;
  private final MmuPage root;
  private final PageLevel minLevel;
  private final long end;

  /** Gfn bits that only take part in the choice of an index: a TD's shared bit on direct roots. */
  private final long gfnBits;

  /** The table in use at each level. */
  private final MmuPage[] path = new MmuPage[PageLevel.LEVEL_256T.number() + 1];

  /** The gfn that the walk is heading for; only a step sideways moves it, and only upwards. */
  private long cursor;

  /** The cursor when the walk (re)started last: no second yield without progress. */
  private long yieldedGfn;

  private PageLevel level;
  private long gfn;
  private int index;
  private long oldSpte;
  private boolean valid;
  private boolean yielded;

  /** Starts at the root's entry for {@code start}; visits entries of {@code minLevel} and above. */
  TdpIter(KvmMmu mmu, MmuPage root, PageLevel minLevel, long start, long end) {
    this(mmu, root, minLevel, start, end, root.isMirror() ? 0 : mmu.gfnDirectBits());
  }

  /** Starts at gfn 0 and visits everything, the gfns taken as the root's own indices. */
  static TdpIter overWholeRoot(KvmMmu mmu, MmuPage root, PageLevel minLevel) {
    return new TdpIter(mmu, root, minLevel, 0, mmu.maxGfnPlusOne(), 0);
  }

  /** At the entry that a hardware walk for the gfn ends at. */
  static TdpIter lastEntry(KvmMmu mmu, MmuPage root, long gfn) {
    TdpIter iter = new TdpIter(mmu, root, PageLevel.LEVEL_4K, gfn, gfn + 1);
    while (mmu.format().isPresentTable(iter.oldSpte, iter.level)) {
      iter.next();
    }
    return iter;
  }

  private TdpIter(
      KvmMmu mmu, MmuPage root, PageLevel minLevel, long start, long end, long gfnBits) {
    this.mmu = mmu;
    this.root = root;
    this.minLevel = minLevel;
    this.end = end;
    this.gfnBits = gfnBits;
    this.cursor = start;
    this.level = root.role().level();
    path[level.number()] = root;
    restart();
  }

  /** Whether there is a current entry and it lies before the end of the walk. */
  boolean isValid() {
    return valid && gfn < end;
  }

  /** Lowest gfn that the current entry covers, without the shared bit. */
  long gfn() {
    return gfn;
  }

  PageLevel level() {
    return level;
  }

  int index() {
    return index;
  }

  /** The table that the current entry is in. */
  MmuPage table() {
    return path[level.number()];
  }

  int asId() {
    return root.role().asId();
  }

  /** The current entry's value when the walk came to it, or when it was refreshed. */
  long oldSpte() {
    return oldSpte;
  }

  void setOldSpte(long spte) {
    oldSpte = spte;
  }

  boolean hasYielded() {
    return yielded;
  }

  /** mmu_lock was dropped: the next step starts again from the root, at the cursor. */
  void markYielded() {
    yielded = true;
  }

  long currentSpte() {
    return table().spt().get(index);
  }

  /** Goes to the next entry: down, else sideways, else up and sideways. */
  void next() {
    if (yielded) {
      restart();
      return;
    }
    if (stepDown()) {
      return;
    }
    do {
      if (stepSide()) {
        return;
      }
    } while (stepUp());
    valid = false;
  }

  /**
   * Drops and takes mmu_lock again if somebody waits for it and the walk got on since it last did
   * ({@code tdp_mmu_iter_cond_resched}); the caller must then {@code continue}.
   */
  boolean condResched(LockMode mode) {
    boolean needResched = needResched();
    if (needResched) {
      resched(mode);
    }
    return needResched;
  }

  /** Whether somebody waits for mmu_lock, and the walk got on since it last dropped the lock. */
  boolean needResched() {
    return cursor != yieldedGfn && mmu.kvm().mmuLock().needBreak();
  }

  /** Drops and takes mmu_lock again; the caller must then {@code continue}. */
  void resched(LockMode mode) {
    mmu.counters().increment(MmuCounter.LOCK_DROPS_RESCHED);
    withoutMmuLock(mode, mmu.kvm().kernel()::condResched);
  }

  /**
   * Runs {@code body} outside mmu_lock and outside the RCU read section; the walk restarts after.
   */
  void withoutMmuLock(LockMode mode, Runnable body) {
    mmu.kvm().kernel().rcu().readUnlock();
    mmu.kvm().mmuLock().unlock(mode);
    try {
      body.run();
    } finally {
      mmu.kvm().mmuLock().lock(mode);
      mmu.kvm().kernel().rcu().readLock();
      markYielded();
    }
  }

  private void restart() {
    yielded = false;
    yieldedGfn = cursor;
    level = root.role().level();
    gfn = level.alignDown(cursor);
    valid = true;
    readEntry();
  }

  private boolean stepDown() {
    if (level == minLevel) {
      return false;
    }
    oldSpte = currentSpte();
    if (!mmu.format().isPresentTable(oldSpte, level)) {
      return false;
    }
    MmuPage child = mmu.childPage(oldSpte);
    level = level.below();
    path[level.number()] = child;
    gfn = level.alignDown(cursor);
    readEntry();
    return true;
  }

  private boolean stepSide() {
    if (index == 511) {
      return false;
    }
    gfn += level.pages();
    cursor = gfn;
    index++;
    oldSpte = currentSpte();
    return true;
  }

  private boolean stepUp() {
    if (level == root.role().level()) {
      return false;
    }
    level = level.above();
    gfn = level.alignDown(gfn);
    readEntry();
    return true;
  }

  private void readEntry() {
    index = level.indexOf(gfn | gfnBits);
    oldSpte = currentSpte();
  }

  /** Whether the walk is over a mirror root. */
  boolean isMirror() {
    return root.isMirror();
  }

  /** Physical address of the current entry, as trace events print it. */
  long sptePa() {
    return (table().sptPfn << 12) + index * 8L;
  }
}
