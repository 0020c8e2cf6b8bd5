package dev.septum.mmu;

import dev.septum.kvm.PageLevel;

/** Page tables as text; leafs with equal bits and consecutive pfns share a line. */
final class TableDump implements MmuView.EntryVisitor {

  private final SpteFormat format;
  private final StringBuilder text = new StringBuilder();
  private PageLevel runLevel = PageLevel.NONE;
  private long runGfn;
  private long runSpte;
  private long runLength;

  TableDump(SpteFormat format) {
    this.format = format;
  }

  void root(MmuPage root) {
    endRun();
    text.append(root.isMirror() ? "root mirror " : "root direct ")
        .append(root.role().level().number());
    text.append('\n');
  }

  @Override
  public void entry(MmuPage table, int index, long gfn, long spte) {
    PageLevel level = table.role().level();
    if (format.isPresentLeaf(spte, level)) {
      leaf(level, gfn, spte);
      return;
    }
    endRun();
    String kind = format.isPresent(spte) ? "table" : "nonpresent";
    text.append("%s L%d %x %x%n".formatted(kind, level.number(), gfn, spte).replace("\r", ""));
  }

  private void leaf(PageLevel level, long gfn, long spte) {
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
      text.append("leaf L%d %x %d %x\n".formatted(runLevel.number(), runGfn, runLength, runSpte));
      runLength = 0;
    }
  }

  String text() {
    endRun();
    return text.toString();
  }
}
