package dev.septum.tdx.module;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSortedMap;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The module's inside, read for checkers and tests. Exact only while no SEAMCALL is in progress
 * that changes what is read.
 */
public final class TdxModuleView {

  /** A page that the S-EPT maps, in whatever state. */
  public record SeptLeaf(long gpa, int level, SeptState state, long hpa, boolean locked) {}

  /**
   * A table of the S-EPT below the root.
   *
   * @param level the level of the entry that points to it
   */
  public record SeptTable(long gpa, int level, long hpa) {}

  /** A page pair of Dynamic PAMT. */
  public record PagePairView(long page0, long page1, int pageCount) {}

  private final ModuleState state;

  TdxModuleView(ModuleState state) {
    this.state = state;
  }

  /** The pages that the TD's S-EPT maps, by GPA. */
  public List<SeptLeaf> leafs(long tdrHpa) {
    ImmutableList.Builder<SeptLeaf> leafs = ImmutableList.builder();
    forEachInUse(
        tdrHpa,
        slot -> {
          if (slot.state().isLeaf()) {
            leafs.add(leaf(slot));
          }
        });
    return leafs.build();
  }

  /** The leaf that a walk for the GPA ends at, in whatever state; null if it ends at none. */
  public @Nullable SeptLeaf leafAt(long tdrHpa, long gpa) {
    Td td = state.td(tdrHpa);
    if (!td.isInitialized()) {
      return null;
    }
    SeptSlot slot = td.sept().walk(gpa, 0);
    return slot.state().isLeaf() ? leaf(slot) : null;
  }

  /** The tables of the TD's S-EPT without the root, parents first. */
  public List<SeptTable> tables(long tdrHpa) {
    ImmutableList.Builder<SeptTable> tables = ImmutableList.builder();
    forEachInUse(
        tdrHpa,
        slot -> {
          if (!slot.state().isLeaf()) {
            tables.add(new SeptTable(slot.gpa(), slot.level(), slot.hpa()));
          }
        });
    return tables.build();
  }

  /** TDR.CHLDCNT. */
  public long childCount(long tdrHpa) {
    return state.td(tdrHpa).childCount().get();
  }

  /** TD_EPOCH. */
  public long epoch(long tdrHpa) {
    return state.td(tdrHpa).epochs().current();
  }

  /** How many vCPUs are inside the TD. */
  public int running(long tdrHpa) {
    return state.td(tdrHpa).epochs().running();
  }

  /** The digest that stands for MRTD. */
  public long measurement(long tdrHpa) {
    return state.td(tdrHpa).measurement.digest();
  }

  /** The page pairs, by the 2M region that they serve. */
  public Map<Long, PagePairView> pamtPairs() {
    ImmutableSortedMap.Builder<Long, PagePairView> pairs = ImmutableSortedMap.naturalOrder();
    PamtScan.of(state.pamt()).forEachNode((hpa, node) -> pairs.put(hpa, pair(node)));
    return pairs.build();
  }

  /** The type of each page that is in use, by HPA; a large page has one row. */
  public Map<Long, PageType> assignedPages() {
    ImmutableMap.Builder<Long, PageType> pages = ImmutableMap.builder();
    PamtScan.of(state.pamt()).forEachLeafInUse((hpa, leaf) -> pages.put(hpa, leaf.type()));
    return pages.buildOrThrow();
  }

  /** The TDR that owns the page, which is in use; 0 for a TDR itself. */
  public long ownerOf(long hpa) {
    PamtEntry large = state.pamt().entry(hpa, 1);
    boolean isLarge = !large.isFree() && !large.isNode();
    return isLarge ? large.owner() : state.pamt().entry(hpa, 0).owner();
  }

  /** How many 4K pages there are in use of each type. */
  public Map<PageType, Long> census() {
    Map<PageType, Long> census = new EnumMap<>(PageType.class);
    PamtScan.of(state.pamt())
        .forEachLeafInUse(
            (hpa, leaf) -> census.merge(leaf.type(), SeptEntry.pages(leaf.level()), Long::sum));
    return census;
  }

  /** One sentence for each invariant that does not hold; empty if all is well. */
  public List<String> violations() {
    return new ModuleInvariants(state).violations();
  }

  private void forEachInUse(long tdrHpa, SecureEpt.Visitor visitor) {
    Td td = state.td(tdrHpa);
    if (td.isInitialized()) {
      td.sept().forEachInUse(visitor);
    }
  }

  private static SeptLeaf leaf(SeptSlot slot) {
    return new SeptLeaf(
        slot.gpa(), slot.level(), slot.state(), slot.hpa(), SeptEntry.isLocked(slot.entry()));
  }

  private static PagePairView pair(PamtEntry node) {
    return new PagePairView(node.pairPage(0), node.pairPage(1), node.pageCount());
  }
}
