package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.SpteFormat;
import java.util.EnumMap;
import java.util.Map;
import java.util.NavigableMap;
import java.util.TreeMap;

/** A dump by level and gfn. */
final class TableIndex {

  private final Map<PageLevel, NavigableMap<Long, TableRun>> levels =
      new EnumMap<>(PageLevel.class);

  TableIndex(TableSnapshot tables) {
    tables.runs().forEach(run -> at(run.level()).put(run.gfn(), run));
  }

  /** The value of the entry of a level that covers the gfn; empty if the dump has none. */
  long spte(PageLevel level, long gfn) {
    var run = at(level).floorEntry(gfn);
    return run == null || gfn >= run.getValue().endGfn()
        ? SpteFormat.NONPRESENT
        : run.getValue().spteAt(level.alignDown(gfn));
  }

  /** The gfns of the entries of a level that point to a table. */
  ImmutableList<Long> tables(PageLevel level) {
    return at(level).values().stream()
        .filter(run -> run.kind() == TableRun.Kind.TABLE)
        .map(TableRun::gfn)
        .collect(ImmutableList.toImmutableList());
  }

  private NavigableMap<Long, TableRun> at(PageLevel level) {
    return levels.computeIfAbsent(level, l -> new TreeMap<>());
  }
}
