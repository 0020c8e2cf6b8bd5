package dev.septum.mmu;

import com.google.errorprone.annotations.FormatMethod;
import dev.septum.kvm.PageLevel;

/**
 * Page tables as text: a line for each table, and one for each run of leafs with equal bits and
 * consecutive pfns. A dump of a real kernel's tables has the same form.
 */
final class TableDump implements MmuView.EntryVisitor {

  private final SpteFormat format;
  private final StringBuilder text = new StringBuilder();
  private final long[] leafs = new long[PageLevel.LEVEL_1G.number() + 1];
  private long tables;
  private PageLevel runLevel = PageLevel.NONE;
  private long runGfn;
  private long runSpte;
  private long runLength;

  TableDump(SpteFormat format) {
    this.format = format;
  }

  void root(MmuPage root) {
    endRun();
    tables++;
    String kind = (root.isMirror() ? "mirror " : "") + (root.role().isInvalid() ? "invalid " : "");
    add("root %shpa=0x%x level=%d", kind, root.sptPfn << 12, root.role().level().number());
  }

  @Override
  public void entry(MmuPage table, int index, long gfn, long spte) {
    PageLevel level = table.role().level();
    if (format.isPresentLeaf(spte, level)) {
      leaf(level, gfn, spte);
      return;
    }
    endRun();
    tables += format.isPresent(spte) ? 1 : 0;
    String kind = format.isPresent(spte) ? "table" : "nonpresent";
    add("%s L%d gfn=0x%x spte=0x%016x", kind, level.number(), gfn, spte);
  }

  private void leaf(PageLevel level, long gfn, long spte) {
    leafs[level.number()]++;
    long distance = runLength * level.pages();
    if (runLevel == level && gfn == runGfn + distance && spte == runSpte + (distance << 12)) {
      runLength++;
      return;
    }
    endRun();
    runLevel = level;
    runGfn = gfn;
    runSpte = spte;
    runLength = 1;
  }

  private void endRun() {
    if (runLength > 0) {
      add("leaf L%d gfn=0x%x n=%d spte=0x%016x", runLevel.number(), runGfn, runLength, runSpte);
      runLength = 0;
    }
  }

  String text() {
    endRun();
    if (tables == 0) {
      return "root none\n";
    }
    add(
        "total tables(incl root)=%d leaf4k=%d leaf2m=%d leaf1g=%d",
        tables, leafs[1], leafs[2], leafs[3]);
    return text.toString();
  }

  @FormatMethod
  private void add(String line, Object... arguments) {
    text.append(line.formatted(arguments)).append('\n');
  }
}
