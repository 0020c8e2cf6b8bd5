package dev.septum.tdx.module;

/** The state of an S-EPT entry, as its state bits encode it. Migration's states are left out. */
public enum SeptState {
  FREE(0, 0x00E0_0000_0000_0000L),
  REMOVED(5, 0x00C0_0000_0000_0000L),
  NL_MAPPED(0x84, 0),
  NL_BLOCKED(0x81, 0x0080_0000_0000_0000L),
  MAPPED(4, 0xC0),
  BLOCKED(1, 0x0080_0000_0000_00C0L),
  PENDING(2, 0x0100_0000_0000_00C0L),
  PENDING_BLOCKED(3, 0x0180_0000_0000_00C0L);

  private static final long STATE_BITS = 0x01E0_0000_0000_02C0L;
  private static final SeptState[] BY_ENCODING = new SeptState[128];

  static {
    for (SeptState state : values()) {
      BY_ENCODING[encoding(state.bits)] = state;
    }
  }

  private final int arch;
  private final long bits;

  SeptState(int arch, long bits) {
    this.arch = arch;
    this.bits = bits;
  }

  /** The number that software sees in RDX bits 15:8. */
  public int arch() {
    return arch;
  }

  /** Whether the entry maps a page. */
  public boolean isLeaf() {
    return (bits & 0x80) != 0;
  }

  /** Whether the entry maps a page or points to a table. */
  public boolean isInUse() {
    return this != FREE && this != REMOVED;
  }

  boolean isBlocked() {
    return this == BLOCKED || this == PENDING_BLOCKED || this == NL_BLOCKED;
  }

  boolean isPending() {
    return this == PENDING || this == PENDING_BLOCKED;
  }

  /** Whether a walk, or the guest, gets through. */
  boolean isAccessible() {
    return this == MAPPED || this == NL_MAPPED;
  }

  /** The state after RANGE.BLOCK. */
  SeptState blocked() {
    return switch (this) {
      case MAPPED -> BLOCKED;
      case PENDING -> PENDING_BLOCKED;
      case NL_MAPPED -> NL_BLOCKED;
      default -> throw new IllegalStateException(this + " can not be blocked");
    };
  }

  /** The state after RANGE.UNBLOCK; an unblocked state is its own. */
  SeptState unblocked() {
    return switch (this) {
      case BLOCKED -> MAPPED;
      case PENDING_BLOCKED -> PENDING;
      case NL_BLOCKED -> NL_MAPPED;
      default -> this;
    };
  }

  long bits() {
    return bits;
  }

  /** The state of an entry; a malformed entry is fatal for the module. */
  static SeptState of(long entry) {
    SeptState state = BY_ENCODING[encoding(entry & STATE_BITS)];
    if (state == null) {
      throw new IllegalStateException("malformed S-EPT entry 0x" + Long.toHexString(entry));
    }
    return state;
  }

  private static int encoding(long bits) {
    return (int) ((bits >>> 9 & 1) | (bits >>> 53 & 15) << 1 | (bits >>> 6 & 3) << 5);
  }
}
