package dev.septum.mmu;

import dev.septum.kernel.EntryTable;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Everything a VM's MMU has, for tests, dumps and checkers. Nothing may run in the VM meanwhile.
 */
public final class MmuView {

  private final KvmMmu mmu;
  private final SpteFormat format;

  /** A view of the MMU as it is at each call. */
  public MmuView(KvmMmu mmu) {
    this.mmu = mmu;
    this.format = mmu.format();
  }

  /** The leafs of the mirror roots, lowest gfn first. */
  public List<MappedLeaf> mirrorLeafs() {
    return leafs(RootKind.MIRROR);
  }

  /** The leafs of the direct roots, lowest gfn first. */
  public List<MappedLeaf> directLeafs() {
    return leafs(RootKind.DIRECT);
  }

  /**
   * The value of the mirror entry of a level that covers a gfn; null without a table of that level.
   * To be looked at while the entry is changed too: no lock is taken.
   */
  public @Nullable Long mirrorSpte(long gfn, PageLevel level) {
    for (MmuPage root : mmu.roots().all()) {
      if (RootKind.of(root) == RootKind.MIRROR) {
        return entry(root, gfn, level);
      }
    }
    return null;
  }

  private @Nullable Long entry(MmuPage table, long gfn, PageLevel level) {
    PageLevel here = table.role().level();
    long spte = table.spt().get(here.indexOf(gfn));
    if (here == level) {
      return spte;
    }
    return format.isPresentTable(spte, here) ? entry(mmu.childPage(spte), gfn, level) : null;
  }

  /** Whether a gfn is private. */
  public boolean isPrivate(long gfn) {
    return mmu.isPrivate(gfn);
  }

  /** Whether a 2M or 1G range has both kinds of frames. */
  public boolean isMixed(Memslot slot, long gfn, PageLevel level) {
    return slot.lpage(level).has(gfn, LpageInfo.MIXED);
  }

  /** Table pages linked into the roots, roots included. */
  public long tables() {
    long[] count = {0};
    visitTables(table -> count[0]++);
    return count[0];
  }

  /** Table pages waiting in the vCPUs' caches. */
  public long cachedTables() {
    return mmu.vcpus().stream().mapToLong(VcpuMmu::cachedTablePages).sum();
  }

  /** The tables of the mirror roots without the roots, parents first. */
  public List<MappedTable> mirrorTables() {
    List<MappedTable> tables = new ArrayList<>();
    visitTables(
        table -> {
          if (table.isMirror() && table.parent() != null) {
            PageLevel level = table.role().level().above();
            tables.add(new MappedTable(table.gfn(), level, table.externalSpt()));
          }
        });
    return tables;
  }

  /**
   * The tables as text: one line a table, one line a run of like leafs, in walk order. A root that
   * was replaced shows only as long as it maps something.
   */
  public String dump() {
    TableDump dump = new TableDump(format);
    for (MmuPage root : mmu.roots().all()) {
      if (!root.role().isInvalid() || !isEmpty(root)) {
        dump.root(root);
        visit(root, dump);
      }
    }
    return dump.text();
  }

  private boolean isEmpty(MmuPage table) {
    boolean[] empty = {true};
    visit(table, (page, index, gfn, spte) -> empty[0] = false);
    return empty[0];
  }

  /** What is wrong with the tables, one sentence each; empty when all is well. */
  public List<String> violations() {
    MmuViolations found = new MmuViolations(mmu);
    Map<PageLevel, Long> leafs = new EnumMap<>(PageLevel.class);
    for (MmuPage root : mmu.roots().all()) {
      visit(
          root,
          (table, index, gfn, spte) -> {
            PageLevel level = table.role().level();
            found.checkEntry(table, gfn, spte);
            if (format.isPresentLeaf(spte, level)) {
              leafs.merge(level, 1L, Long::sum);
            }
          });
    }
    for (PageLevel level : List.of(PageLevel.LEVEL_4K, PageLevel.LEVEL_2M, PageLevel.LEVEL_1G)) {
      found.checkCount(VmStat.pages(level), leafs.getOrDefault(level, 0L));
    }
    found.checkQuiet();
    return found.list();
  }

  private List<MappedLeaf> leafs(RootKind kind) {
    List<MappedLeaf> leafs = new ArrayList<>();
    for (MmuPage root : mmu.roots().all()) {
      if (RootKind.of(root) == kind) {
        visit(
            root,
            (table, index, gfn, spte) -> {
              PageLevel level = table.role().level();
              if (format.isPresentLeaf(spte, level)) {
                leafs.add(new MappedLeaf(gfn, level, format.pfn(spte), spte));
              }
            });
      }
    }
    return leafs;
  }

  interface EntryVisitor {
    void entry(MmuPage table, int index, long gfn, long spte);
  }

  private interface TableVisitor {
    void table(MmuPage table);
  }

  private void visitTables(TableVisitor visitor) {
    for (MmuPage root : mmu.roots().all()) {
      visitor.table(root);
      visit(
          root,
          (table, index, gfn, spte) -> {
            if (format.isPresentTable(spte, table.role().level())) {
              visitor.table(mmu.childPage(spte));
            }
          });
    }
  }

  /** Visits every entry of a table that is not empty, and what hangs below it, in walk order. */
  private void visit(MmuPage table, EntryVisitor visitor) {
    PageLevel level = table.role().level();
    for (int i = 0; i < EntryTable.ENTRIES; i++) {
      long spte = table.spt().get(i);
      if (spte != SpteFormat.NONPRESENT) {
        visitor.entry(table, i, table.gfn() + i * level.pages(), spte);
        if (format.isPresentTable(spte, level)) {
          visit(mmu.childPage(spte), visitor);
        }
      }
    }
  }
}
