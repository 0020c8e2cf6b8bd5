package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.PageLevel;
import dev.septum.lab.conform.TableRun.Kind;
import dev.septum.mmu.SpteFormat;
import java.util.OptionalLong;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * One side's events and dumps, in the recording's frames.
 *
 * <p>A frame is translated by what it is used for, not by its number. One that is used for nothing
 * that the recording knows gets bit 51 of an SPTE, and so equals no recorded frame. Frames behind
 * the slots are the same on both sides and stay. {@code sptep}, a hashed pointer, is left out: the
 * gfn and the old value say which entry it is.
 */
final class SideFrames {

  private static final SpteFormat NPT = SpteFormat.npt();
  private static final long FRAME_MASK = (1L << 40) - 1;
  private static final long STRANGER = 1L << 39;

  private final PageLevel rootLevel;
  private final FrameLedger ledger = new FrameLedger();

  /** The recording's; null if this is the recording's side. */
  private final @Nullable FrameLedger recorded;

  private FrameSet listed = new FrameSet();

  private SideFrames(PageLevel rootLevel, @Nullable FrameLedger recorded) {
    this.rootLevel = rootLevel;
    this.recorded = recorded;
  }

  /** The recording's own side. */
  static SideFrames ofRecording(PageLevel rootLevel) {
    return new SideFrames(rootLevel, null);
  }

  /** The side of who does the same. The recording's side must see each operation first. */
  SideFrames ofReplay() {
    return new SideFrames(rootLevel, ledger);
  }

  /** Starts an operation, during which the host's memory was in these frames. */
  void begin(FrameSet frames) {
    listed = frames;
  }

  /** The event in the recording's frames. */
  Event event(Event event) {
    EventFields fields = new EventFields(event);
    return switch (event.name()) {
      case SpteChange.NAME -> change(fields);
      case EventFormats.SET_SPTE -> setSpte(fields);
      case EventFormats.SPTE_REQUESTED -> requested(fields);
      case EventFormats.SPLIT_HUGE_PAGE -> withLeaf(fields, "spte", fields.gfn()).event();
      case EventFormats.FAST_PAGE_FAULT -> fastPageFault(fields);
      case EventFormats.MARK_MMIO_SPTE -> withoutPointer(event);
      case EventFormats.GET_PAGE -> getPage(event);
      default -> event;
    };
  }

  private Event change(EventFields fields) {
    SpteChange change = SpteChange.of(fields.event());
    PageLevel level = change.level();
    long oldSpte = entry(level, change.gfn(), change.oldSpte());
    boolean wasTable = NPT.isPresentTable(change.oldSpte(), level);
    boolean isTable = NPT.isPresentTable(change.newSpte(), level);
    if (wasTable) {
      ledger.unlink(NPT.pfn(change.oldSpte()));
    }
    // Of our own frames, one that is still in use stays what it is, and so does not compare equal.
    if (isTable && recorded == null) {
      ledger.link(level.number() - 1, change.gfn(), NPT.pfn(change.newSpte()));
    }
    return fields
        .withHex("old_spte", oldSpte)
        .withHex("new_spte", entry(level, change.gfn(), change.newSpte()))
        .event();
  }

  private Event setSpte(EventFields fields) {
    PageLevel level = PageLevel.of(fields.number("level"));
    long gfn = fields.gfn();
    long at = fields.hex("at");
    FrameId table = ledger.table(level.number(), level.above().alignDown(gfn), at >>> 12);
    return fields
        .withHex("spte", entry(level, gfn, fields.hex("spte")))
        .withHex("at", (inRecording(table, at >>> 12) << 12) | (at & 0xfff))
        .event();
  }

  private Event requested(EventFields fields) {
    long pfn = fields.hex("pfn");
    boolean isFrame = (pfn & ~FRAME_MASK) == 0;
    return isFrame ? fields.withHex("pfn", page(fields.gfn(), pfn)).event() : fields.event();
  }

  private Event fastPageFault(EventFields fields) {
    long gfn = fields.hex("gva") >>> 12;
    return withoutPointer(withLeaf(withLeaf(fields, "old", gfn), "new", gfn).event());
  }

  private EventFields withLeaf(EventFields fields, String key, long gfn) {
    long spte = fields.hex(key);
    return NPT.isPresent(spte) ? fields.withHex(key, leaf(gfn, spte)) : fields;
  }

  private static Event withoutPointer(Event event) {
    return new Event(event.name(), event.fields().replaceFirst("sptep[: ]\\S+ ", ""));
  }

  private Event getPage(Event event) {
    if (event.fields().contains(" l" + rootLevel.number() + " ")) {
      ledger.newRoot();
    }
    return event;
  }

  /** The dump in the recording's frames. */
  TableSnapshot dump(TableSnapshot tables) {
    if (tables.rootFrame().isEmpty()) {
      return tables;
    }
    long root = tables.rootFrame().getAsLong();
    ImmutableList.Builder<TableRun> runs = ImmutableList.builder();
    for (TableRun run : tables.runs()) {
      boolean stays = run.kind() == Kind.LEAF && isListed(run);
      runs.addAll(stays ? ImmutableList.of(run) : translated(run));
    }
    FrameId rootId = ledger.root(tables.rootLevel().number(), root);
    return new TableSnapshot(
        OptionalLong.of(inRecording(rootId, root)), tables.rootLevel(), runs.build());
  }

  private boolean isListed(TableRun leafs) {
    long pfn = NPT.pfn(leafs.spte());
    return listed.contains(pfn, pfn + leafs.count());
  }

  private ImmutableList<TableRun> translated(TableRun run) {
    return run.entries().stream()
        .map(e -> e.withSpte(entry(e.level(), e.gfn(), e.spte())))
        .collect(ImmutableList.toImmutableList());
  }

  /** Pages that no leaf of a dump maps may have been given back. */
  void forgetUnmappedPages(TableSnapshot tables) {
    Set<Long> mapped =
        tables.runs().stream()
            .filter(run -> run.kind() == Kind.LEAF && !isListed(run))
            .flatMap(run -> run.entries().stream())
            .map(entry -> NPT.pfn(entry.spte()))
            .collect(Collectors.toSet());
    ledger.keepPages(mapped);
  }

  private long entry(PageLevel level, long gfn, long spte) {
    if (NPT.isPresentTable(spte, level)) {
      long frame = NPT.pfn(spte);
      return withPfn(spte, inRecording(ledger.table(level.number() - 1, gfn, frame), frame));
    }
    return NPT.isPresent(spte) ? leaf(gfn, spte) : spte;
  }

  private long leaf(long gfn, long spte) {
    return withPfn(spte, page(gfn, NPT.pfn(spte)));
  }

  private long page(long gfn, long pfn) {
    return listed.contains(pfn, pfn + 1) ? pfn : inRecording(ledger.page(gfn, pfn), pfn);
  }

  private static long withPfn(long spte, long pfn) {
    return (spte & ~(FRAME_MASK << 12)) | (pfn << 12);
  }

  private long inRecording(FrameId id, long frame) {
    if (recorded == null) {
      return frame;
    }
    Long known = recorded.frameOf(id);
    return known == null ? frame | STRANGER : known;
  }
}
