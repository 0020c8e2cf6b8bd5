package dev.septum.tdx.module;

import dev.septum.kernel.EntryTable;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** What the S-EPTs of all TDs refer to, and what is wrong with their entries. */
final class SeptCensus {

  /** What one TD's tree has. */
  private static final class Tally {
    private long leafPages;
    private long tables;
    private long mapping;
  }

  private final ModuleState state;
  private final List<String> violations;
  private final PageSet mapped = new PageSet();
  private final Set<Long> tables = new HashSet<>();
  private final Map<Td, Tally> tallies = new HashMap<>();

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
    return tallyOf(td).leafPages;
  }

  /** Tables below the root of the TD's tree. */
  long tablesOf(Td td) {
    return tallyOf(td).tables;
  }

  /** Which page the TD's tree has where, to compare with {@link MappingDigest#sum}. */
  long mappingOf(Td td) {
    return tallyOf(td).mapping;
  }

  private void visit(Td td) {
    if (td.isInitialized() && td.lifecycle != Lifecycle.TEARDOWN) {
      Tally tally = tallyOf(td);
      td.sept().forEachInUse(slot -> visit(td, slot, tally));
    }
  }

  private Tally tallyOf(Td td) {
    return tallies.computeIfAbsent(td, key -> new Tally());
  }

  private void visit(Td td, SeptSlot slot, Tally tally) {
    checkForm(slot);
    PamtEntry named = named(slot);
    if (named != null) {
      checkEpoch(td, slot, named);
    }
    if (slot.state().isLeaf()) {
      tally.leafPages += SeptEntry.pages(slot.level());
      tally.mapping += MappingDigest.of(slot.gpa(), slot.hpa(), slot.level());
      visitLeaf(td, slot, named);
    } else {
      tally.tables++;
      visitTable(td, slot, named);
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

  /** I6: the PAMT entry that an implicit lookup through this entry meets; null if it must not. */
  private @Nullable PamtEntry named(SeptSlot slot) {
    int level = slot.state().isLeaf() ? slot.level() : 0;
    PamtEntry named =
        state.pamt().hasEntry(slot.hpa(), level) ? state.pamt().entry(slot.hpa(), level) : null;
    if (named == null || !named.type().isOwned()) {
      report("I6: a %s entry names a page that nobody owns at its size", slot);
      return null;
    }
    return named;
  }

  /** I19 for BEPOCH, which counts while the entry is blocked. */
  private void checkEpoch(Td td, SeptSlot slot, PamtEntry named) {
    if (slot.state().isBlocked()
        && Long.compareUnsigned(named.blockingEpoch(), td.epochs().current()) > 0) {
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
  private void visitLeaf(Td td, SeptSlot slot, @Nullable PamtEntry named) {
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
    if (!isOwned(td, PageType.REG, named)) {
      report("I4: a %s leaf maps what is no private page of its size and TD", slot);
    }
    if (state.septPages().find(slot.hpa()) != null) {
      report("I12: there is a table below a %s leaf", slot);
    }
  }

  /** I5 and I12. */
  private void visitTable(Td td, SeptSlot slot, @Nullable PamtEntry named) {
    if (!tables.add(slot.hpa())) {
      report("I5: a %s entry points to a table that another entry points to", slot);
    }
    if (!isOwned(td, PageType.EPT, named)) {
      report("I5: a %s entry points to what is no S-EPT page of its TD", slot);
    }
    if (state.septPages().find(slot.hpa()) == null) {
      report("I12: a %s entry points to no table", slot);
    }
  }

  private static boolean isOwned(Td td, PageType type, @Nullable PamtEntry named) {
    return named != null && named.type() == type && named.owner() == td.tdrHpa();
  }

  private void report(String format, SeptSlot slot) {
    String place = String.format("level %d %s", slot.level(), slot.state());
    violations.add(String.format(format, place) + String.format(" (GPA %x)", slot.gpa()));
  }
}
