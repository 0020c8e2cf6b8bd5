package dev.septum.tdx.module;

/** A published version of the module that behaves unlike the one before it. */
public enum ModuleVersion {
  /** The first with Dynamic PAMT. */
  V1_5_20(20),
  /** The last in which DEMOTE always stops for events, and yields to who waits for the S-EPT. */
  V1_5_25(25),
  /** The first with ENHANCED_DEMOTE_INTERRUPTIBILITY. */
  V1_5_28(28),
  /** The first that takes an S-EPT table away that has REMOVED entries left. */
  V1_5_34(34);

  private final int update;

  ModuleVersion(int update) {
    this.update = update;
  }

  /** The version as it is printed: {@code 1.5.28}. */
  public String label() {
    return "1.5." + update;
  }

  /** The last of the three numbers. */
  int update() {
    return update;
  }

  /** Whether DEMOTE of a TD without nested VMs runs through whatever is pending. */
  boolean demotesInSpiteOfEvents() {
    return compareTo(V1_5_28) >= 0;
  }

  /** Whether ACCEPT asks the entry that it locked, not the one that it walked to, for its size. */
  boolean acceptsByLockedEntry() {
    return compareTo(V1_5_28) >= 0;
  }

  /** Whether SEPT.REMOVE counts REMOVED entries as empty ones. */
  boolean removesTablesWithRemovedEntries() {
    return compareTo(V1_5_34) >= 0;
  }
}
