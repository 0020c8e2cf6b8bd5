package dev.septum.lab.conform;

import dev.septum.kvm.PageLevel;

/** A {@code kvm_tdp_mmu_spte_changed} event: an entry of a table got another value. */
record SpteChange(long gfn, PageLevel level, long oldSpte, long newSpte) {

  static final String NAME = "kvm_tdp_mmu_spte_changed";

  static SpteChange of(Event event) {
    EventFields fields = new EventFields(event);
    return new SpteChange(
        fields.gfn(),
        PageLevel.of(fields.number("level")),
        fields.hex("old_spte"),
        fields.hex("new_spte"));
  }
}
