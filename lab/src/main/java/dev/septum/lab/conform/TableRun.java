package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.PageLevel;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A line of a table dump: one entry, or leafs with equal bits and consecutive pfns.
 *
 * @param count how many entries; 1 unless they are leafs
 * @param spte the first entry's value
 */
record TableRun(Kind kind, PageLevel level, long gfn, long count, long spte) {

  private static final Pattern LINE =
      Pattern.compile(
          "(table|leaf|nonpresent) L([1-5]) gfn=0x(\\p{XDigit}{1,16})(?: n=(\\d{1,9}))?"
              + " spte=0x(\\p{XDigit}{1,16})");

  /** What an entry that is not empty is. */
  enum Kind {
    TABLE,
    LEAF,
    /** Not present, and not empty: an MMIO SPTE. */
    NONPRESENT
  }

  static TableRun parse(String line) {
    Matcher m = LINE.matcher(line);
    if (!m.matches()) {
      throw new IllegalArgumentException("not a line of a dump: '%s'".formatted(line));
    }
    return new TableRun(
        Kind.valueOf(m.group(1).toUpperCase(Locale.ROOT)),
        PageLevel.of(Integer.parseInt(m.group(2))),
        Long.parseUnsignedLong(m.group(3), 16),
        m.group(4) == null ? 1 : Long.parseLong(m.group(4)),
        Long.parseUnsignedLong(m.group(5), 16));
  }

  /** The gfn behind the last entry's. */
  long endGfn() {
    return gfn + count * level.pages();
  }

  /** The value of the entry at a gfn of this run. */
  long spteAt(long atGfn) {
    return spte + ((atGfn - gfn) << 12);
  }

  /** Whether the other run continues this one. */
  boolean isContinuedBy(TableRun next) {
    return kind == Kind.LEAF
        && next.kind == Kind.LEAF
        && next.level == level
        && next.gfn == endGfn()
        && next.spte == spteAt(next.gfn);
  }

  /** This run and the one that continues it. */
  TableRun with(TableRun next) {
    return new TableRun(kind, level, gfn, count + next.count, spte);
  }

  /** The run with another first value. */
  TableRun withSpte(long other) {
    return new TableRun(kind, level, gfn, count, other);
  }

  /** The entries one by one. */
  ImmutableList<TableRun> entries() {
    ImmutableList.Builder<TableRun> entries = ImmutableList.builder();
    for (long i = 0, at = gfn; i < count; i++, at += level.pages()) {
      entries.add(new TableRun(kind, level, at, 1, spteAt(at)));
    }
    return entries.build();
  }

  @Override
  public String toString() {
    String n = kind == Kind.LEAF ? " n=" + count : "";
    return "%s L%d gfn=0x%x%s spte=0x%016x"
        .formatted(kind.name().toLowerCase(Locale.ROOT), level.number(), gfn, n, spte);
  }
}
