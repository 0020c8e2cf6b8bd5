package dev.septum.lab.conform;

import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.SpteFormat;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableSet;
import java.util.TreeSet;

/**
 * Whether dirty logs report the pages that became writable.
 *
 * <p>KVM marks a page of a slot that logs when its 4K leaf becomes writable, not when it is
 * written. So each leaf that is writable is reported, and no page whose leaf never became so.
 */
final class DirtyLog {

  private static final SpteFormat NPT = SpteFormat.npt();
  private static final int LOG_DIRTY_PAGES = 1;
  private static final int INITIALLY_SET = 2;

  private static final GfnRange NO_RANGE = new GfnRange(0, 0);

  private record Slot(GfnRange range, boolean isLogging) {}

  private final Map<Integer, Slot> slots = new HashMap<>();

  /** Gfns whose 4K leaf became writable since the log was last empty. */
  private final NavigableSet<Long> becameWritable = new TreeSet<>();

  private final boolean seesSmallLeafs;
  private long manualProtect;

  DirtyLog(Recording.Header header) {
    this.seesSmallLeafs = header.smallestLevel() == PageLevel.LEVEL_4K;
  }

  /** Takes the next operation, and tells which pages its dirty log should have or lacks. */
  List<String> next(RecordedOp op, OpOutcome outcome, TableSnapshot before, TableSnapshot after)
      throws RecordingException {
    OpFields fields = op.fields();
    if (op.name().equals("create_vm")) {
      manualProtect = fields.longValue("manual_dirty_log_protect2");
    }
    if (op.name().startsWith("set_user_memory_region") && outcome.rc() == 0) {
      setRegion(fields);
    }
    GfnRange toggled = op.isConcurrent() ? toggled(fields) : NO_RANGE;
    outcome.events().forEach(event -> event(event, toggled));
    boolean isLog = op.name().equals("get_dirty_log") && outcome.rc() == 0;
    Slot slot = isLog ? slots.get(fields.intValue("slot")) : null;
    return slot == null ? List.of() : check(slot.range(), outcome, before, after);
  }

  private void setRegion(OpFields fields) throws RecordingException {
    int id = fields.intValue("slot");
    long pages = fields.longValue("size") >>> 12;
    GfnRange range = GfnRange.ofPages(fields.longValue("gpa") >>> 12, pages);
    boolean isLogging = (fields.intValue("flags") & LOG_DIRTY_PAGES) != 0;
    Slot was = slots.put(id, new Slot(range, isLogging));
    if (isLogging && (was == null || !was.isLogging())) {
      empty(range);
    }
  }

  private void empty(GfnRange range) {
    becameWritable.subSet(range.start(), range.end()).clear();
  }

  /** The pages whose log a race enables and disables; whether it is on at the end is not known. */
  private GfnRange toggled(OpFields fields) throws RecordingException {
    slots.replaceAll((id, slot) -> new Slot(slot.range(), true));
    return fields.has("base") && fields.has("span")
        ? GfnRange.ofPages(fields.longValue("base") >>> 12, fields.longValue("span") >>> 12)
        : NO_RANGE;
  }

  private void event(Event event, GfnRange toggled) {
    switch (event.name()) {
      case SpteChange.NAME -> {
        SpteChange change = SpteChange.of(event);
        if (change.level() == PageLevel.LEVEL_4K) {
          leaf(change.gfn(), change.newSpte());
        }
      }
      case EventFormats.FAST_PAGE_FAULT ->
          FastFix.of(event).ifPresent(fix -> becameWritable.add(fix.gfn()));
      // A thread that toggles logging says when it enables it.
      case TraceLine.MARK -> {
        if (event.fields().endsWith("flags=1 begin")) {
          empty(toggled);
        }
      }
      default -> {
        // Nothing becomes writable.
      }
    }
  }

  private void leaf(long gfn, long spte) {
    if (NPT.isPresent(spte) && NPT.isWritable(spte)) {
      becameWritable.add(gfn);
    }
  }

  private List<String> check(
      GfnRange range, OpOutcome outcome, TableSnapshot before, TableSnapshot after) {
    List<String> violations = new ArrayList<>();
    NavigableSet<Long> reported = reported(range, outcome);
    for (long gfn : writable(before, range)) {
      if (!reported.contains(gfn)) {
        violations.add("gfn %x is writable, but not in the dirty log".formatted(gfn));
      }
    }
    if (seesSmallLeafs && manualProtect < INITIALLY_SET) {
      reported.stream()
          .filter(gfn -> !becameWritable.contains(gfn))
          .forEach(
              gfn ->
                  violations.add(
                      "gfn %x is in the dirty log, but never became writable".formatted(gfn)));
    }
    if (manualProtect == 0) {
      writable(after, range).stream()
          .filter(reported::contains)
          .forEach(
              gfn -> violations.add("gfn %x stays writable in an empty dirty log".formatted(gfn)));
      empty(range);
    }
    return violations;
  }

  private static NavigableSet<Long> reported(GfnRange range, OpOutcome outcome) {
    NavigableSet<Long> gfns = new TreeSet<>();
    for (long[] pages : outcome.dirtyRanges().orElse(List.of())) {
      for (long page = pages[0]; page < pages[0] + pages[1]; page++) {
        gfns.add(range.start() + page);
      }
    }
    return gfns;
  }

  private static NavigableSet<Long> writable(TableSnapshot tables, GfnRange range) {
    NavigableSet<Long> gfns = new TreeSet<>();
    for (TableRun run : tables.runs()) {
      if (run.level() == PageLevel.LEVEL_4K
          && NPT.isPresent(run.spte())
          && NPT.isWritable(run.spte())) {
        run.entries().stream().map(TableRun::gfn).filter(range::contains).forEach(gfns::add);
      }
    }
    return gfns;
  }
}
