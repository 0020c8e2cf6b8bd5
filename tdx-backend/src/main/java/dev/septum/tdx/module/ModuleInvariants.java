package dev.septum.tdx.module;

import com.google.errorprone.annotations.FormatMethod;
import java.util.ArrayList;
import java.util.List;

/**
 * The invariants of a module at rest, checked over its whole state. Each violation is a sentence
 * that begins with the invariant's number.
 */
final class ModuleInvariants {

  private final ModuleState state;
  private final List<String> violations = new ArrayList<>();

  ModuleInvariants(ModuleState state) {
    this.state = state;
  }

  List<String> violations() {
    SeptCensus sept = SeptCensus.take(state, violations);
    PamtCensus pamt = PamtCensus.take(state, violations);
    state.tds.values().forEach(td -> checkTd(td, sept, pamt));
    return violations;
  }

  private void checkTd(Td td, SeptCensus sept, PamtCensus pamt) {
    checkRoot(td);
    checkChildCount(td, pamt);
    checkReferences(td, sept, pamt);
    checkEpochs(td);
    checkLocks(td);
  }

  /** I5, the part on the root. */
  private void checkRoot(Td td) {
    if (td.isInitialized() && td.sept().rootHpa() != td.tdcx.get(Td.ROOT_PAGE)) {
      report("I5: the S-EPT root of TD %x is not its TDCX page 3", td.tdrHpa());
    }
  }

  /** I8. */
  private void checkChildCount(Td td, PamtCensus pamt) {
    long owned = pamt.pagesOwnedBy(td.tdrHpa());
    if (td.childCount().get() != owned) {
      report("I8: TD %x owns %d pages, CHLDCNT is %d", td.tdrHpa(), owned, td.childCount().get());
    }
  }

  /** I4 and I5: as many references from the tree as there are pages to refer to. */
  private void checkReferences(Td td, SeptCensus sept, PamtCensus pamt) {
    if (td.lifecycle == Lifecycle.TEARDOWN) {
      return;
    }
    long leafPages = sept.leafPagesOf(td);
    long tables = sept.tablesOf(td);
    if (leafPages != pamt.privatePagesOf(td.tdrHpa())) {
      report(
          "I4: TD %x has %d private pages, its S-EPT maps %d",
          td.tdrHpa(), pamt.privatePagesOf(td.tdrHpa()), leafPages);
    }
    if (tables != pamt.tablesOf(td.tdrHpa())) {
      report(
          "I5: TD %x has %d S-EPT pages, its tree has %d tables",
          td.tdrHpa(), pamt.tablesOf(td.tdrHpa()), tables);
    }
  }

  /** I17. */
  private void checkEpochs(Td td) {
    long inside = state.vcpus.values().stream().filter(v -> v.td() == td && v.isRunning()).count();
    if (td.epochs().running() != inside) {
      report(
          "I17: %d vCPUs are inside TD %x, its REFCOUNTs say %d",
          inside, td.tdrHpa(), td.epochs().running());
    }
  }

  /** I15, for the locks that are no entries. A vCPU inside holds none of these. */
  private void checkLocks(Td td) {
    if (td.treeLock().isHeld() || td.opStateLock().isHeld() || td.epochs().lock().isHeld()) {
      report("I15: a lock of TD %x is held between calls", td.tdrHpa());
    }
  }

  @FormatMethod
  private void report(String format, Object... arguments) {
    violations.add(String.format(format, arguments));
  }
}
