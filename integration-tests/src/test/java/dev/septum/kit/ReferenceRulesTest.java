package dev.septum.kit;

import dev.septum.kvm.reference.ReferenceBackend;

/** The kit as an author of a backend has it, in one class. */
class ReferenceRulesTest extends AllRules {

  @Override
  protected Subject subject() {
    return new Subject(new ReferenceBackend());
  }
}
