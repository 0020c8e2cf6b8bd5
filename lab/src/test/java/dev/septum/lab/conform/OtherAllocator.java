package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.SpteFormat;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * What a kernel would have recorded whose allocator gives other frames, and gives those first that
 * were freed last.
 */
final class OtherAllocator {

  private static final SpteFormat NPT = SpteFormat.npt();

  private final Deque<Long> free = new ArrayDeque<>();

  /** Its frames, by the recording's. */
  private final Map<Long, Long> tables = new HashMap<>();

  private final Map<Long, Long> pages = new HashMap<>();
  private final PageLevel rootLevel;
  private long fresh = 0x5000000;
  private long pointers;
  private Optional<Long> root = Optional.empty();
  private FrameSet listed = new FrameSet();

  private OtherAllocator(PageLevel rootLevel) {
    this.rootLevel = rootLevel;
  }

  static List<OpOutcome> outcomes(Recording recording) {
    OtherAllocator other = new OtherAllocator(recording.header().rootLevel());
    List<OpOutcome> outcomes = new ArrayList<>();
    Backing before = Backing.NONE;
    for (RecordedOp op : recording.ops()) {
      other.listed = FrameSet.listed(before, op.backing().orElse(before));
      before = op.backing().orElse(before);
      OutcomeDraft draft = new OutcomeDraft(op.outcome());
      draft.events.replaceAll(other::event);
      draft.table = op.table().map(tables -> String.join("\n", other.dump(tables).lines()));
      outcomes.add(draft.outcome());
    }
    return outcomes;
  }

  private Event event(Event event) {
    EventFields fields = new EventFields(event);
    return switch (event.name()) {
      case SpteChange.NAME -> change(fields);
      case EventFormats.SET_SPTE -> setSpte(fields);
      case EventFormats.SPTE_REQUESTED -> {
        long pfn = fields.hex("pfn");
        yield pfn < 0 ? event : fields.withHex("pfn", page(pfn)).event();
      }
      case EventFormats.FAST_PAGE_FAULT, EventFormats.MARK_MMIO_SPTE -> otherPointer(event);
      case EventFormats.GET_PAGE -> {
        if (event.fields().contains(" l" + rootLevel.number() + " ")) {
          root.ifPresent(free::push);
          root = Optional.of(allocate());
        }
        yield event;
      }
      default -> event;
    };
  }

  private Event setSpte(EventFields fields) {
    long at = fields.hex("at");
    return fields
        .withHex("spte", spte(PageLevel.of(fields.number("level")), fields.hex("spte")))
        .withHex("at", (table(at >>> 12) << 12) | (at & 0xfff))
        .event();
  }

  private Event otherPointer(Event event) {
    String pointer = "%016x".formatted(++pointers);
    return new Event(event.name(), event.fields().replaceFirst("(sptep[: ])\\S+", "$1" + pointer));
  }

  private Event change(EventFields fields) {
    SpteChange change = SpteChange.of(fields.event());
    long oldSpte = spte(change.level(), change.oldSpte());
    if (NPT.isPresentTable(change.newSpte(), change.level())) {
      tables.put(NPT.pfn(change.newSpte()), allocate());
    }
    EventFields changed =
        fields
            .withHex("old_spte", oldSpte)
            .withHex("new_spte", spte(change.level(), change.newSpte()));
    if (NPT.isPresentTable(change.oldSpte(), change.level())) {
      free.push(NPT.pfn(oldSpte));
    }
    return changed.event();
  }

  private TableSnapshot dump(TableSnapshot recorded) {
    ImmutableList.Builder<TableRun> runs = ImmutableList.builder();
    for (TableRun run : recorded.runs()) {
      long pfn = NPT.pfn(run.spte());
      if (listed.contains(pfn, pfn + run.count())) {
        runs.add(run);
      } else {
        run.entries().forEach(e -> runs.add(e.withSpte(spte(e.level(), e.spte()))));
      }
    }
    return new TableSnapshot(
        recorded.rootFrame().isPresent()
            ? OptionalLong.of(root.orElseThrow())
            : OptionalLong.empty(),
        recorded.rootLevel(),
        runs.build());
  }

  private long spte(PageLevel level, long spte) {
    if (!NPT.isPresent(spte)) {
      return spte;
    }
    long pfn = NPT.pfn(spte);
    long other = NPT.isLeaf(spte, level) ? page(pfn) : table(pfn);
    return spte + ((other - pfn) << 12);
  }

  private long page(long pfn) {
    return listed.contains(pfn, pfn + 1) ? pfn : pages.computeIfAbsent(pfn, p -> allocate());
  }

  private long table(long frame) {
    return Objects.requireNonNull(tables.get(frame), "no such table");
  }

  private long allocate() {
    return free.isEmpty() ? fresh++ : free.pop();
  }
}
