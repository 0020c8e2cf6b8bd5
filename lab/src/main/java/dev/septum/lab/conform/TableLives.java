package dev.septum.lab.conform;

import dev.septum.kvm.PageLevel;
import dev.septum.mmu.SpteFormat;
import java.util.ArrayList;
import java.util.List;
import java.util.function.LongUnaryOperator;

/**
 * The tables that one entry pointed to, one after the other.
 *
 * <p>Each starts with values that no event tells: those of the dump, none, or what a split makes.
 */
final class TableLives {

  private static final SpteFormat NPT = SpteFormat.npt();

  /** The values that a table starts with, by gfn. */
  private final List<LongUnaryOperator> starts = new ArrayList<>();

  private int ended;

  int size() {
    return starts.size();
  }

  /** Whether there was one only, which is still there, and started with this value at a gfn. */
  boolean isOneThatKeeps(long gfn, long spte) {
    return size() == 1 && ended == 0 && starts.get(0).applyAsLong(gfn) == spte;
  }

  /** How many were taken down. */
  int ended() {
    return ended;
  }

  /** A table that was there already. */
  void before(LongUnaryOperator spteAt) {
    starts.add(spteAt);
  }

  /** The entry changed: a table may have ended, another may have started. */
  void changed(PageLevel level, long gfn, EntryChain.Move move, boolean nxHugePages) {
    if (NPT.isPresentTable(move.oldSpte(), level)) {
      ended++;
    }
    if (NPT.isPresentTable(move.newSpte(), level)) {
      boolean isSplit = NPT.isPresentHuge(move.oldSpte());
      starts.add(
          isSplit
              ? children(level.below(), gfn, move.oldSpte(), nxHugePages)
              : at -> SpteFormat.NONPRESENT);
    }
  }

  private static LongUnaryOperator children(
      PageLevel level, long start, long huge, boolean nxHugePages) {
    long first = NPT.makeSmall(huge, level, nxHugePages);
    return gfn -> first + ((gfn - start) << 12);
  }

  /** Starts the lives of the entry at a gfn. */
  void startAll(EntryChain chain, long gfn) {
    starts.forEach(start -> chain.start(start.applyAsLong(gfn)));
  }
}
