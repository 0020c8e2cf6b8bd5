package dev.septum.tdx.module;

import java.util.ArrayList;
import java.util.List;

/** The module's invariants, checked over its whole state. */
final class ModuleInvariants {

  private final ModuleState state;

  ModuleInvariants(ModuleState state) {
    this.state = state;
  }

  List<String> violations() {
    List<String> violations = new ArrayList<>();
    state.tds.values().forEach(td -> checkIdle(td, violations));
    return violations;
  }

  private static void checkIdle(Td td, List<String> violations) {
    if (td.epochs().lock().isHeld()) {
      violations.add("I15: EPOCH_LOCK is held between calls");
    }
  }
}
