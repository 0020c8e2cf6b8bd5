package dev.septum.mmu;

import java.util.Locale;

/** Why a huge leaf was split. */
public enum SplitCause {
  /** The guest accepted a part of it. */
  GUEST_ACCEPT,
  /** A part of it became shared ({@code KVM_SET_MEMORY_ATTRIBUTES}). */
  MEMORY_ATTRIBUTES,
  /** A hole was punched into its guest_memfd. */
  PUNCH_HOLE,
  /** A part of it was converted to shared in its guest_memfd. */
  CONVERSION,
  /** Dirty logging started, or its bits were cleared. */
  DIRTY_LOG,
  /** Smaller pages were asked for ahead of need. */
  EAGER,
  /** A fault needed a smaller mapping. */
  FAULT;

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
