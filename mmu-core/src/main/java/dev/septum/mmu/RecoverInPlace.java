package dev.septum.mmu;

import com.google.errorprone.annotations.Immutable;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;

/**
 * Since Linux 6.13: the huge leaf takes the table's place at once, with the bits of the first small
 * leaf in the table ({@code recover_huge_pages_range}).
 */
@Immutable
final class RecoverInPlace implements HugePageRecovery {

  @Override
  public void recover(KvmMmu mmu, MmuPage root, Memslot slot) {
    Kvm kvm = mmu.kvm();
    SpteWriter writer = SpteWriter.forMode(mmu, LockMode.SHARED);
    boolean[] flush = {false};
    Runnable flushIfNeeded =
        () -> {
          if (flush[0]) {
            kvm.flushRemoteTlbs();
            flush[0] = false;
          }
        };
    kvm.kernel().rcu().readLock();
    try {
      new CollapsibleTables(mmu, slot)
          .visit(
              root,
              flushIfNeeded,
              iter -> {
                long huge = hugeSpte(mmu, iter);
                if (huge == SpteFormat.NONPRESENT) {
                  return false;
                }
                boolean lostRace = writer.set(iter, huge) == Errno.EBUSY;
                flush[0] |= !lostRace;
                return lostRace;
              });
      flushIfNeeded.run();
    } finally {
      kvm.kernel().rcu().readUnlock();
    }
  }

  /** The leaf that replaces the iterator's table; NONPRESENT if nothing is mapped below it. */
  private static long hugeSpte(KvmMmu mmu, TdpIter parent) {
    MmuPage table = mmu.childPage(parent.oldSpte());
    long end = parent.gfn() + parent.level().pages();
    TdpIter iter = new TdpIter(mmu, table, PageLevel.LEVEL_4K, parent.gfn(), end);
    for (; iter.isValid(); iter.next()) {
      if (mmu.format().isPresentLeaf(iter.oldSpte(), iter.level())) {
        return mmu.format().makeHuge(iter.oldSpte(), parent.level(), mmu.isNxHugePages());
      }
    }
    return SpteFormat.NONPRESENT;
  }
}
