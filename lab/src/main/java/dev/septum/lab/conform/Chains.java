package dev.septum.lab.conform;

import dev.septum.kernel.EntryTable;
import dev.septum.kvm.PageLevel;
import dev.septum.lab.conform.EntryChain.Move;
import dev.septum.mmu.SpteFormat;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * Whether the changes in one operation lead from the tables before it to those after it, entry by
 * entry.
 */
final class Chains {

  private static final SpteFormat NPT = SpteFormat.npt();

  /** An entry of a table. */
  private record Entry(PageLevel level, long gfn) {
    @Override
    public String toString() {
      return "l%d gfn %x".formatted(level.number(), gfn);
    }
  }

  private final TableIndex before;
  private final TableIndex after;
  private final PageLevel rootLevel;
  private final PageLevel smallestLevel;

  /** Whether 4K children of a split become executable. */
  private final boolean nxHugePages;

  private final Map<Entry, List<Move>> moves = new LinkedHashMap<>();
  private final List<String> violations = new ArrayList<>();

  Chains(Recording.Header header, boolean nxHugePages, TableSnapshot before, TableSnapshot after) {
    this.before = new TableIndex(before);
    this.after = new TableIndex(after);
    this.rootLevel = header.rootLevel();
    this.smallestLevel = header.smallestLevel();
    this.nxHugePages = nxHugePages;
  }

  void add(SpteChange change) {
    add(change.level(), change.gfn(), new Move(change.oldSpte(), change.newSpte()));
  }

  /** Adds a fast page fault that gave W back. Its level is not traced. */
  void add(FastFix fix) {
    PageLevel level = level(fix);
    add(level, level.alignDown(fix.gfn()), new Move(fix.oldSpte(), fix.newSpte()));
  }

  private PageLevel level(FastFix fix) {
    if (!NPT.isPresentHuge(fix.oldSpte())) {
      return PageLevel.LEVEL_4K;
    }
    boolean is1g = wasOnce(PageLevel.LEVEL_1G, fix.gfn(), fix.oldSpte());
    return is1g ? PageLevel.LEVEL_1G : PageLevel.LEVEL_2M;
  }

  private boolean wasOnce(PageLevel level, long gfn, long spte) {
    return before.spte(level, gfn) == spte
        || moves(level, level.alignDown(gfn)).stream().anyMatch(m -> m.newSpte() == spte);
  }

  private void add(PageLevel level, long gfn, Move move) {
    moves.computeIfAbsent(new Entry(level, gfn), e -> new ArrayList<>()).add(move);
  }

  private List<Move> moves(PageLevel level, long gfn) {
    return moves.getOrDefault(new Entry(level, gfn), List.of());
  }

  /** What does not add up, one sentence for each entry. */
  List<String> violations() {
    TableLives root = new TableLives();
    root.before(gfn -> before.spte(rootLevel, gfn));
    checkTable(rootLevel, 0, root);
    for (PageLevel level = rootLevel; level.isAbove(smallestLevel); level = level.below()) {
      Set<Long> parents = parents(level);
      for (long gfn : parents) {
        checkTable(level.below(), gfn, lives(level, gfn));
      }
      checkOrphans(level, parents);
    }
    return violations;
  }

  /** The gfns of the entries of a level that pointed to a table at some time. */
  private Set<Long> parents(PageLevel level) {
    Set<Long> gfns = new TreeSet<>();
    before.tables(level).forEach(gfns::add);
    moves.forEach(
        (entry, list) -> {
          if (entry.level() == level
              && list.stream().anyMatch(m -> NPT.isPresentTable(m.newSpte(), level))) {
            gfns.add(entry.gfn());
          }
        });
    return gfns;
  }

  private void checkOrphans(PageLevel level, Set<Long> parents) {
    moves.keySet().stream()
        .filter(e -> e.level() == level.below() && !parents.contains(level.alignDown(e.gfn())))
        .forEach(e -> violations.add("%s changed, but no table has it".formatted(e)));
  }

  private TableLives lives(PageLevel level, long gfn) {
    TableLives lives = new TableLives();
    if (NPT.isPresentTable(before.spte(level, gfn), level)) {
      lives.before(at -> before.spte(level.below(), at));
    }
    moves(level, gfn).forEach(move -> lives.changed(level, gfn, move, nxHugePages));
    return lives;
  }

  private void checkTable(PageLevel level, long start, TableLives lives) {
    Map<Entry, EntryChain> chains = new LinkedHashMap<>();
    for (int i = 0; i < EntryTable.ENTRIES; i++) {
      long gfn = start + i * level.pages();
      long spte = after.spte(level, gfn);
      if (!moves(level, gfn).isEmpty() || !lives.isOneThatKeeps(gfn, spte)) {
        chains.put(new Entry(level, gfn), chain(level, gfn, lives, spte));
      }
    }
    chains.forEach(
        (entry, chain) ->
            chain.gap().ifPresent(gap -> violations.add("%s: %s".formatted(entry, gap))));
    checkFrozen(lives, chains);
  }

  private EntryChain chain(PageLevel level, long gfn, TableLives lives, long last) {
    EntryChain chain = new EntryChain(level);
    lives.startAll(chain, gfn);
    moves(level, gfn).forEach(chain::move);
    chain.endLives(lives.ended());
    if (lives.size() > lives.ended()) {
      chain.end(last);
    }
    return chain;
  }

  /** Under the read lock all entries of a table are frozen, the vacant ones as well. */
  private void checkFrozen(TableLives lives, Map<Entry, EntryChain> chains) {
    long byReaders = chains.values().stream().mapToLong(EntryChain::frozenVacant).max().orElse(0);
    chains.forEach(
        (entry, chain) -> {
          long frozen = chain.count(SpteFormat.FROZEN);
          if (frozen < byReaders || frozen > lives.ended()) {
            violations.add(
                "%s: frozen %d times, but its table was taken down %d times"
                    .formatted(entry, frozen, lives.ended()));
          }
        });
  }
}
