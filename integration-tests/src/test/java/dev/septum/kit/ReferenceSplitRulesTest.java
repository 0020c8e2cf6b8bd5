package dev.septum.kit;

import dev.septum.kvm.reference.ReferenceBackend;

/** A part of the kit as an author of a backend has it. */
class ReferenceSplitRulesTest extends SplitRules {

  @Override
  protected Subject subject() {
    return new Subject(new ReferenceBackend());
  }
}
