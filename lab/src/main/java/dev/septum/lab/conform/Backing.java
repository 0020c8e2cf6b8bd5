package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The host's memory behind a VM's slots, as a {@code backing-NNN.txt} has it. */
record Backing(ImmutableList<Slot> slots) {

  /** No slot has memory. */
  static final Backing NONE = new Backing(ImmutableList.of());

  private static final Pattern SLOT =
      Pattern.compile(
          "slot id=(\\d{1,9}) gpa=0x(\\p{XDigit}{1,16}) size=0x(\\p{XDigit}{1,16}) hva=0x(\\p{XDigit}{1,16})");

  private static final Pattern RUN =
      Pattern.compile(
          " pages=\\[0x(\\p{XDigit}{1,16}),\\+0x(\\p{XDigit}{1,16})\\) "
              + "(?:not-present|pfn=0x(\\p{XDigit}{1,16}) (pte|pmd-or-pud)-mapped)");

  /** A slot and its memory, lowest page first. */
  record Slot(int id, long gpa, long size, long hva, ImmutableList<Run> runs) {}

  /** How the host maps a page. */
  enum Mapping {
    NOT_PRESENT,
    PTE,
    /** By a huge leaf of the host, of 2M or 1G. */
    HUGE
  }

  /**
   * Pages of a slot in consecutive frames.
   *
   * @param page the first page, counted from the slot's start
   * @param pfn the first page's frame; 0 if not present
   */
  record Run(long page, long count, long pfn, Mapping mapping) {

    /** The frame of a page of this run. */
    long pfnAt(long slotPage) {
      return pfn + slotPage - page;
    }
  }

  /** The slot whose memory contains the host address. */
  Optional<Slot> slotAt(long hva) {
    return slots.stream().filter(s -> hva >= s.hva() && hva - s.hva() < s.size()).findFirst();
  }

  /** The run that contains the host address. */
  Optional<Run> runAt(long hva) {
    return slotAt(hva)
        .flatMap(
            slot -> {
              long page = (hva - slot.hva()) >>> 12;
              return slot.runs().stream()
                  .filter(r -> page >= r.page() && page - r.page() < r.count())
                  .findFirst();
            });
  }

  /**
   * Reads a file's lines.
   *
   * @throws IllegalArgumentException if a line is neither a slot nor a run; the message has the
   *     line's number and text
   */
  static Backing parse(List<String> lines) {
    ImmutableList.Builder<Slot> slots = ImmutableList.builder();
    List<Run> runs = new ArrayList<>();
    Optional<Matcher> open = Optional.empty();
    for (int i = 0; i < lines.size(); i++) {
      Matcher slot = SLOT.matcher(lines.get(i));
      Matcher run = RUN.matcher(lines.get(i));
      if (slot.matches()) {
        open.ifPresent(s -> slots.add(slot(s, runs)));
        runs.clear();
        open = Optional.of(slot);
      } else if (run.matches() && open.isPresent()) {
        runs.add(run(run));
      } else {
        throw new IllegalArgumentException(
            "%d: neither a slot nor its pages: '%s'".formatted(i + 1, lines.get(i)));
      }
    }
    open.ifPresent(s -> slots.add(slot(s, runs)));
    return new Backing(slots.build());
  }

  private static Slot slot(Matcher m, List<Run> runs) {
    return new Slot(
        Integer.parseInt(m.group(1)),
        hex(m.group(2)),
        hex(m.group(3)),
        hex(m.group(4)),
        ImmutableList.copyOf(runs));
  }

  private static Run run(Matcher m) {
    String pfn = m.group(3);
    if (pfn == null) {
      return new Run(hex(m.group(1)), hex(m.group(2)), 0, Mapping.NOT_PRESENT);
    }
    Mapping mapping = m.group(4).equals("pte") ? Mapping.PTE : Mapping.HUGE;
    return new Run(hex(m.group(1)), hex(m.group(2)), hex(pfn), mapping);
  }

  private static long hex(String digits) {
    return Long.parseUnsignedLong(digits, 16);
  }
}
