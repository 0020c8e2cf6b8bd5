package dev.septum.it;

import dev.septum.kit.SplitRules;
import dev.septum.kit.Subject;
import dev.septum.kvm.reference.ReferenceBackend;

/** A part of the kit as an author of a backend has it. */
class ReferenceSplitRulesTest extends SplitRules {

  @Override
  protected Subject subject() {
    return new Subject(new ReferenceBackend());
  }
}
