package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.PageLevel;
import dev.septum.lab.conform.TableRun.Kind;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A VM's tables as a {@code pt-NNN.txt} has them, parents before children.
 *
 * @param rootFrame the root's frame; absent if there is no valid root
 * @param rootLevel the root's level; NONE if there is no valid root
 * @param runs every entry that is not empty, in walk order
 */
record TableSnapshot(OptionalLong rootFrame, PageLevel rootLevel, ImmutableList<TableRun> runs) {

  /** No valid root. */
  static final TableSnapshot EMPTY =
      new TableSnapshot(OptionalLong.empty(), PageLevel.NONE, ImmutableList.of());

  private static final String NO_ROOT = "root none";

  private static final Pattern ROOT =
      Pattern.compile("root hpa=0x(\\p{XDigit}{1,16}) level=([45])");

  /**
   * Reads a dump.
   *
   * @throws IllegalArgumentException if a line is none of a dump, or the total is not what the
   *     lines add up to; the message has the line's number
   */
  static TableSnapshot parse(List<String> lines) {
    if (lines.equals(List.of(NO_ROOT))) {
      return EMPTY;
    }
    Matcher root = ROOT.matcher(lines.isEmpty() ? "" : lines.get(0));
    if (!root.matches()) {
      throw new IllegalArgumentException(
          "1: not a root: '%s'".formatted(lines.isEmpty() ? "" : lines.get(0)));
    }
    ImmutableList.Builder<TableRun> runs = ImmutableList.builder();
    for (int i = 1; i < lines.size() - 1; i++) {
      try {
        runs.add(TableRun.parse(lines.get(i)));
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException("%d: %s".formatted(i + 1, e.getMessage()), e);
      }
    }
    TableSnapshot tables =
        new TableSnapshot(
            OptionalLong.of(Long.parseUnsignedLong(root.group(1), 16) >>> 12),
            PageLevel.of(Integer.parseInt(root.group(2))),
            runs.build());
    String last = lines.get(lines.size() - 1);
    if (!last.equals(tables.total())) {
      throw new IllegalArgumentException(
          "%d: the lines add up to '%s', not to '%s'"
              .formatted(lines.size(), tables.total(), last));
    }
    return tables;
  }

  /** The dump's lines, with leafs in one line wherever they can be. */
  ImmutableList<String> lines() {
    if (rootFrame.isEmpty()) {
      return ImmutableList.of(NO_ROOT);
    }
    ImmutableList.Builder<String> lines = ImmutableList.builder();
    lines.add("root hpa=0x%x level=%d".formatted(rootFrame.getAsLong() << 12, rootLevel.number()));
    joined().forEach(run -> lines.add(run.toString()));
    return lines.add(total()).build();
  }

  private List<TableRun> joined() {
    List<TableRun> joined = new ArrayList<>();
    for (TableRun run : runs) {
      int last = joined.size() - 1;
      if (last >= 0 && joined.get(last).isContinuedBy(run)) {
        joined.set(last, joined.get(last).with(run));
      } else {
        joined.add(run);
      }
    }
    return joined;
  }

  /** Present leafs of a level. */
  long leafs(PageLevel level) {
    return runs.stream()
        .filter(r -> r.kind() == Kind.LEAF && r.level() == level)
        .mapToLong(TableRun::count)
        .sum();
  }

  private String total() {
    long tables = runs.stream().filter(r -> r.kind() == Kind.TABLE).count();
    return "total tables(incl root)=%d leaf4k=%d leaf2m=%d leaf1g=%d"
        .formatted(
            tables + 1,
            leafs(PageLevel.LEVEL_4K),
            leafs(PageLevel.LEVEL_2M),
            leafs(PageLevel.LEVEL_1G));
  }
}
