package dev.septum.lab.conform;

import dev.septum.kvm.PageLevel;
import dev.septum.mmu.SpteFormat;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * The values that one entry had, as paths: each life of its table starts one, and an end of it ends
 * one.
 *
 * <p>Two CPUs may trace two changes in the other order than they made them, so the changes are not
 * taken in their order: they must only add up to such paths. The CPU sets A of a present leaf, and
 * D of a writable one, without a trace; nothing but a change takes them away.
 */
final class EntryChain {

  private static final SpteFormat NPT = SpteFormat.npt();
  private static final int ACCESSED = 1;
  private static final int DIRTY = 2;

  /** A change of the entry. */
  record Move(long oldSpte, long newSpte) {}

  private final PageLevel level;
  private final List<Long> starts = new ArrayList<>();
  private final List<Move> moves = new ArrayList<>();

  /** By the value but for A and D: how much more often each of the four is entered than left. */
  private final Map<Long, int[]> excess = new LinkedHashMap<>();

  EntryChain(PageLevel level) {
    this.level = level;
  }

  /** A life of the table starts, with this value in the entry. */
  void start(long spte) {
    starts.add(spte);
    add(spte, 1);
  }

  /** The entry was changed. */
  void move(Move move) {
    moves.add(move);
    add(move.oldSpte(), -1);
    add(move.newSpte(), 1);
  }

  /** The table lives on, with this value in the entry. */
  void end(long spte) {
    add(spte, -1);
  }

  /**
   * So many lives of the table have ended. Under the write lock, entries that are not present stay
   * as they are; all others are frozen.
   */
  void endLives(int lives) {
    long frozen = count(SpteFormat.FROZEN);
    for (long life = 0; life < lives; life++) {
      end(life < frozen ? SpteFormat.FROZEN : leftOver());
    }
  }

  private long leftOver() {
    return excess.entrySet().stream()
        .filter(e -> NPT.isMmio(e.getKey()) && e.getValue()[0] > 0)
        .mapToLong(Map.Entry::getKey)
        .findFirst()
        .orElse(SpteFormat.NONPRESENT);
  }

  /** How often the entry was frozen while it was not present. */
  long frozenVacant() {
    return moves.stream()
        .filter(m -> m.newSpte() == SpteFormat.FROZEN && !NPT.isPresent(m.oldSpte()))
        .count();
  }

  /** How often the entry got a value. */
  long count(long newSpte) {
    return moves.stream().filter(m -> m.newSpte() == newSpte).count();
  }

  /** What does not add up, in one sentence. */
  Optional<String> gap() {
    for (Map.Entry<Long, int[]> group : excess.entrySet()) {
      int[] four = group.getValue();
      if (!settles(four, NPT.isWritable(group.getKey()))) {
        int sum = sum(four);
        String what =
            sum == 0
                ? "changes A or D without a trace"
                : sum > 0 ? "is entered more often than left" : "is left more often than entered";
        return Optional.of("value %x %s".formatted(group.getKey(), what));
      }
    }
    return unreached().map("value %x is left but never entered"::formatted);
  }

  private static int sum(int[] four) {
    return four[0] + four[ACCESSED] + four[DIRTY] + four[ACCESSED | DIRTY];
  }

  /** Whether setting A, and D if the leaf is writable, evens out all four. */
  private static boolean settles(int[] four, boolean isWritable) {
    int both = four[ACCESSED | DIRTY];
    int accessed = four[ACCESSED];
    int dirty = four[DIRTY];
    if (!isWritable) {
      return four[0] + accessed == 0 && accessed <= 0 && dirty + both == 0 && both <= 0;
    }
    return sum(four) == 0
        && both <= 0
        && both + accessed <= 0
        && both + dirty <= 0
        && both + accessed + dirty <= 0;
  }

  private Optional<Long> unreached() {
    Set<Long> reached = new HashSet<>();
    starts.forEach(spte -> reached.add(withoutAd(spte)));
    int before;
    do {
      before = reached.size();
      for (Move move : moves) {
        if (reached.contains(withoutAd(move.oldSpte()))) {
          reached.add(withoutAd(move.newSpte()));
        }
      }
    } while (reached.size() > before);
    return moves.stream()
        .map(Move::oldSpte)
        .filter(spte -> !reached.contains(withoutAd(spte)))
        .findFirst();
  }

  private void add(long spte, int times) {
    int[] four = excess.computeIfAbsent(withoutAd(spte), s -> new int[4]);
    four[adBits(spte)] += times;
  }

  private int adBits(long spte) {
    return NPT.isPresentLeaf(spte, level)
        ? (NPT.isAccessed(spte) ? ACCESSED : 0) | (NPT.isDirty(spte) ? DIRTY : 0)
        : 0;
  }

  private long withoutAd(long spte) {
    return NPT.isPresentLeaf(spte, level) ? NPT.clearDirty(NPT.markForAccessTrack(spte)) : spte;
  }
}
