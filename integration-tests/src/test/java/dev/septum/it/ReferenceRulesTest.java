package dev.septum.it;

import dev.septum.kit.AllRules;
import dev.septum.kit.Subject;
import dev.septum.kvm.reference.ReferenceBackend;

/** The kit as an author of a backend has it, in one class. */
class ReferenceRulesTest extends AllRules {

  @Override
  protected Subject subject() {
    return new Subject(new ReferenceBackend());
  }
}
