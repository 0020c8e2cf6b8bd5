package dev.septum.lab.seamcall;

import dev.septum.tdx.module.PageType;
import dev.septum.tdx.module.TdxModuleView;
import dev.septum.tdx.module.TdxModuleView.PagePairView;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * What a person can see of a module; two of them tell what changed.
 *
 * @param entries S-EPT entries, control pages and page pairs: by kind, then by address
 * @param counters epochs and child counts, by name
 */
record ModuleSnapshot(Map<Place, Shown> entries, Map<String, Long> counters) {

  private static final String[] SIZES = {"4K", "2M", "1G", "512G", "256T"};

  /**
   * A place that can change.
   *
   * @param step how far its neighbour is, 0 for places without neighbours
   */
  record Place(String kind, String size, long address, long step) implements Comparable<Place> {
    @Override
    public int compareTo(Place other) {
      int byKind = kind.compareTo(other.kind);
      int bySize = byKind == 0 ? Long.compare(other.step, step) : byKind;
      return bySize == 0 ? Long.compareUnsigned(address, other.address) : bySize;
    }
  }

  /** What is at a place: what neighbours have in common, and what is its own. */
  record Shown(String state, String own) {
    static final Shown NOTHING = new Shown("-", "");
  }

  static ModuleSnapshot of(TdxModuleView view) {
    ModuleSnapshot snapshot = new ModuleSnapshot(new TreeMap<>(), new TreeMap<>());
    view.assignedPages().forEach((hpa, type) -> snapshot.addPage(view, hpa, type));
    view.pamtPairs().forEach(snapshot::addPair);
    return snapshot;
  }

  /** Private pages are seen in the S-EPT; the others have a line of their own. */
  private void addPage(TdxModuleView view, long hpa, PageType type) {
    if (type != PageType.REG) {
      entries.put(new Place("page", "", hpa, 4096), new Shown(type.name(), ""));
    }
    if (type == PageType.TDR) {
      addTd(view, hpa);
    }
  }

  private void addTd(TdxModuleView view, long tdr) {
    String name = "TD 0x%x ".formatted(tdr);
    counters.put(name + "TD_EPOCH", view.epoch(tdr));
    counters.put(name + "CHLDCNT", view.childCount(tdr));
    String kind = name + "S-EPT";
    view.leafs(tdr)
        .forEach(
            leaf ->
                entries.put(
                    place(kind, leaf.gpa(), leaf.level()),
                    new Shown(leaf.state().name(), " 0x%x".formatted(leaf.hpa()))));
    view.tables(tdr)
        .forEach(
            table ->
                entries.put(
                    place(kind, table.gpa(), table.level()),
                    new Shown("table", " 0x%x".formatted(table.hpa()))));
  }

  private void addPair(long region, PagePairView pair) {
    entries.put(
        new Place("page pair of", "", region, 0),
        new Shown(
            "0x%x 0x%x".formatted(pair.page0(), pair.page1()),
            ", in use: %d".formatted(pair.pageCount())));
  }

  private static Place place(String kind, long gpa, int level) {
    return new Place(kind, " " + SIZES[level], gpa, 4096L << (9 * level));
  }

  /** What is different in {@code after}, a line each; neighbours that changed alike share one. */
  List<String> changesTo(ModuleSnapshot after) {
    List<String> lines = new ArrayList<>();
    TreeSet<Place> places = new TreeSet<>(entries.keySet());
    places.addAll(after.entries.keySet());
    List<Place> run = new ArrayList<>();
    for (Place place : places) {
      if (shown(place).equals(after.shown(place))) {
        continue;
      }
      if (!run.isEmpty() && !continues(run, place, after)) {
        lines.add(line(run, after));
        run.clear();
      }
      run.add(place);
    }
    if (!run.isEmpty()) {
      lines.add(line(run, after));
    }
    counters.forEach(
        (name, before) -> {
          Long now = after.counters.get(name);
          if (now != null && !now.equals(before)) {
            lines.add("%s: %d -> %d".formatted(name, before, now));
          }
        });
    return lines;
  }

  private boolean continues(List<Place> run, Place place, ModuleSnapshot after) {
    Place last = run.get(run.size() - 1);
    return place.step != 0
        && last.kind.equals(place.kind)
        && last.step == place.step
        && last.address + last.step == place.address
        && shown(last).state.equals(shown(place).state)
        && after.shown(last).state.equals(after.shown(place).state);
  }

  private String line(List<Place> run, ModuleSnapshot after) {
    Place first = run.get(0);
    Shown from = shown(first);
    Shown to = after.shown(first);
    if (run.size() > 1) {
      return "%s 0x%x..0x%x%s, %d of them: %s -> %s"
          .formatted(
              first.kind,
              first.address,
              run.get(run.size() - 1).address,
              first.size,
              run.size(),
              from.state,
              to.state);
    }
    String now =
        from.state.equals(to.state) ? to.own.replaceFirst("^[, ]+", "") : to.state + to.own;
    return "%s 0x%x%s: %s%s -> %s"
        .formatted(first.kind, first.address, first.size, from.state, from.own, now);
  }

  private Shown shown(Place place) {
    return entries.getOrDefault(place, Shown.NOTHING);
  }
}
