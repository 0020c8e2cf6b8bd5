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
    if (!state.isConfigured()) {
      return violations;
    }
    SeptCensus sept = SeptCensus.take(state, violations);
    PamtCensus pamt = PamtCensus.take(state, violations);
    state.tds.values().forEach(td -> checkTd(td, sept, pamt));
    return violations;
  }

  private void checkTd(Td td, SeptCensus sept, PamtCensus pamt) {
    checkRoot(td);
    checkChildCount(td, pamt);
    checkReferences(td, sept, pamt);
    checkMapping(td, sept);
    checkEpochs(td);
    checkVcpusInside(td);
    checkLifecycle(td);
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

  /** I16: what is mapped is what adding, removing and moving pages left, in whatever sizes. */
  private void checkMapping(Td td, SeptCensus sept) {
    if (td.lifecycle != Lifecycle.TEARDOWN && sept.mappingOf(td) != td.mapping().sum()) {
      report("I16: resizing changed which pages the S-EPT of TD %x maps where", td.tdrHpa());
    }
  }

  /** I18: nobody inside can remember a mapping that is gone or resized. */
  private void checkVcpusInside(Td td) {
    for (TdVcpu vcpu : state.vcpus.values()) {
      if (vcpu.td() == td && vcpu.isRunning() && vcpu.epoch().get() <= td.epochs().retired()) {
        report(
            "I18: a vCPU of TD %x entered in epoch %d, and a mapping of epoch %d is gone",
            td.tdrHpa(), vcpu.epoch().get(), td.epochs().retired());
      }
    }
  }

  /** I20. */
  private void checkLifecycle(Td td) {
    boolean bare = td.lifecycle == Lifecycle.HKID_ASSIGNED;
    if (bare && td.childCount().get() != 0) {
      report("I20: TD %x has pages, but no keys", td.tdrHpa());
    }
    if (td.lifecycle != Lifecycle.TEARDOWN && td.reclaimed.get() != 0) {
      report("I20: pages of TD %x were reclaimed before its teardown", td.tdrHpa());
    }
    if (!td.measurement.isIntact()) {
      report("I20: pages were added to TD %x after MR.FINALIZE", td.tdrHpa());
    }
    if (!state.keys().fits(td.hkid(), td.lifecycle)) {
      report(
          "I20: HKID %d is not as far as TD %x, which is %s", td.hkid(), td.tdrHpa(), td.lifecycle);
    }
  }

  /** I17, and I19 for TD_EPOCH. */
  private void checkEpochs(Td td) {
    long inside = state.vcpus.values().stream().filter(v -> v.td() == td && v.isRunning()).count();
    if (td.epochs().running() != inside) {
      report(
          "I17: %d vCPUs are inside TD %x, its REFCOUNTs say %d",
          inside, td.tdrHpa(), td.epochs().running());
    }
    if (td.isInitialized() && td.epochs().current() != 1 + td.epochs().advances()) {
      report(
          "I19: TD_EPOCH of TD %x is %d after %d times MEM.TRACK",
          td.tdrHpa(), td.epochs().current(), td.epochs().advances());
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
