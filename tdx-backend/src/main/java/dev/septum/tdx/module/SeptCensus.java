package dev.septum.tdx.module;

import dev.septum.kernel.EntryTable;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** What the S-EPTs of all TDs refer to, and what is wrong with their entries. */
final class SeptCensus {

  private final ModuleState state;
  private final List<String> violations;
  private final PageSet mapped = new PageSet();
  private final Set<Long> tables = new HashSet<>();
  private final Map<Td, Long> leafPages = new HashMap<>();
  private final Map<Td, Long> tableCounts = new HashMap<>();
  private final Map<Td, Long> mappings = new HashMap<>();

  private SeptCensus(ModuleState state, List<String> violations) {
    this.state = state;
    this.violations = violations;
  }

  static SeptCensus take(ModuleState state, List<String> violations) {
    SeptCensus census = new SeptCensus(state, violations);
    state.tds.values().forEach(census::visit);
    return census;
  }

  /** 4K pages that the TD's tree maps. */
  long leafPagesOf(Td td) {
    return leafPages.getOrDefault(td, 0L);
  }

  /** Tables below the root of the TD's tree. */
  long tablesOf(Td td) {
    return tableCounts.getOrDefault(td, 0L);
  }

  /** Which page the TD's tree has where, to compare with {@link MappingDigest#sum}. */
  long mappingOf(Td td) {
    return mappings.getOrDefault(td, 0L);
  }

  private void visit(Td td) {
    if (td.isInitialized() && td.lifecycle != Lifecycle.TEARDOWN) {
      td.sept().forEachInUse(slot -> visit(td, slot));
    }
  }

  private void visit(Td td, SeptSlot slot) {
    checkForm(slot);
    if (isNamable(slot)) {
      checkEpoch(td, slot);
    }
    if (slot.state().isLeaf()) {
      leafPages.merge(td, SeptEntry.pages(slot.level()), Long::sum);
      mappings.merge(td, MappingDigest.of(slot.gpa(), slot.hpa(), slot.level()), Long::sum);
      visitLeaf(td, slot);
    } else {
      tableCounts.merge(td, 1L, Long::sum);
      visitTable(td, slot);
    }
  }

  /** I13, I14 and I15. */
  private void checkForm(SeptSlot slot) {
    long entry = slot.entry();
    int counter = SeptEntry.acceptCounter(entry, slot.level());
    if (counter != 0 && slot.state() != SeptState.PENDING) {
      report("I14: an accept counter in a %s entry", slot);
    }
    if (SeptEntry.isLocked(entry)) {
      report("I15: the %s entry is locked between calls", slot);
    }
    long bare = SeptEntry.withAcceptCounter(SeptEntry.of(slot.state(), slot.hpa()), counter);
    if (SeptEntry.bare(entry) != bare) {
      report("I13: the permissions or other bits of a %s entry do not fit its state", slot);
    }
  }

  /** I6: the page that an implicit lookup through this entry would meet. */
  private boolean isNamable(SeptSlot slot) {
    int level = slot.state().isLeaf() ? slot.level() : 0;
    Pamt pamt = state.pamt();
    boolean namable =
        pamt.hasEntry(slot.hpa(), level) && pamt.entry(slot.hpa(), level).type().isOwned();
    if (!namable) {
      report("I6: a %s entry names a page that nobody owns at its size", slot);
    }
    return namable;
  }

  /** I19 for BEPOCH, which counts while the entry is blocked. */
  private void checkEpoch(Td td, SeptSlot slot) {
    int level = slot.state().isLeaf() ? slot.level() : 0;
    long epoch = state.pamt().entry(slot.hpa(), level).blockingEpoch();
    if (slot.state().isBlocked() && Long.compareUnsigned(epoch, td.epochs().current()) > 0) {
      report("I19: a %s entry was blocked in an epoch to come", slot);
    }
  }

  /** I21: the guest sees what was measured, cleared or its own, and PENDING pages not at all. */
  private void checkContents(SeptSlot slot) {
    if (slot.state().isPending()) {
      if (SeptEntry.isPresent(slot.entry())) {
        report("I21: a %s entry lets the guest read what it has not accepted", slot);
      }
    } else if (!hasContents(slot)) {
      report("I21: a %s entry shows the guest a page that nobody cleared", slot);
    }
  }

  private boolean hasContents(SeptSlot slot) {
    PageBitmap contents = state.pamt().contents(slot.hpa());
    if (slot.level() == 0) {
      return contents.isSet(slot.hpa());
    }
    long end = slot.hpa() + SeptEntry.bytes(slot.level());
    for (long region = slot.hpa(); region < end; region += SeptEntry.bytes(1)) {
      if (contents.count(region) != EntryTable.ENTRIES) {
        return false;
      }
    }
    return true;
  }

  /** I4 and I7. */
  private void visitLeaf(Td td, SeptSlot slot) {
    if ((slot.hpa() & (SeptEntry.bytes(slot.level()) - 1)) != 0) {
      report("I7: a %s leaf maps an unaligned page", slot);
      return;
    }
    if (state.pamt().covers(slot.hpa())) {
      checkContents(slot);
    }
    if (!mapped.add(slot.hpa(), slot.level())) {
      report("I4: a %s leaf maps a page that is mapped elsewhere", slot);
    }
    if (!isOwned(td, slot, PageType.REG, slot.level())) {
      report("I4: a %s leaf maps what is no private page of its size and TD", slot);
    }
    if (state.septPages().find(slot.hpa()) != null) {
      report("I12: there is a table below a %s leaf", slot);
    }
  }

  /** I5 and I12. */
  private void visitTable(Td td, SeptSlot slot) {
    if (!tables.add(slot.hpa())) {
      report("I5: a %s entry points to a table that another entry points to", slot);
    }
    if (!isOwned(td, slot, PageType.EPT, 0)) {
      report("I5: a %s entry points to what is no S-EPT page of its TD", slot);
    }
    if (state.septPages().find(slot.hpa()) == null) {
      report("I12: a %s entry points to no table", slot);
    }
  }

  private boolean isOwned(Td td, SeptSlot slot, PageType type, int level) {
    if (!state.pamt().hasEntry(slot.hpa(), level)) {
      return false;
    }
    PamtEntry entry = state.pamt().entry(slot.hpa(), level);
    return entry.type() == type && entry.owner() == td.tdrHpa();
  }

  private void report(String format, SeptSlot slot) {
    String place = String.format("level %d %s", slot.level(), slot.state());
    violations.add(String.format(format, place) + String.format(" (GPA %x)", slot.gpa()));
  }
}
