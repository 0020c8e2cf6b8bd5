package dev.septum.tdx.module;

/** The bits of an S-EPT entry, and the only place where they are taken apart. */
final class SeptEntry {

  /** TDEL: the entry lock, the same for host and guest. */
  static final long LOCK = 1L << 11;

  /** TDHP: a host met the entry locked; guests stand back. */
  static final long HOST_PRIORITY = 1L << 52;

  /** What every L1 entry has. */
  private static final long SUPPRESS_VE = 1L << 63;

  private static final long RWX = 7;
  private static final long EXECUTE_USER = 1 << 10;
  private static final long WRITE_BACK = 6 << 3;
  private static final long LEAF = 1 << 7;
  private static final long HPA = 0x000F_FFFF_FFFF_F000L;
  private static final long LEAF_VIEW = SUPPRESS_VE | RWX | EXECUTE_USER | 0xF8 | HPA;
  private static final long NON_LEAF_VIEW = RWX | EXECUTE_USER | LEAF;

  /** An entry that maps nothing. */
  static final long FREE = of(SeptState.FREE, 0);

  private SeptEntry() {}

  /** The entry in this state that maps, or points to, {@code hpa}. */
  static long of(SeptState state, long hpa) {
    long memoryType = state.isLeaf() ? WRITE_BACK : 0;
    long access = state.isAccessible() ? RWX | EXECUTE_USER : 0;
    return SUPPRESS_VE | state.bits() | memoryType | access | hpa;
  }

  /** Whether a walk may go through, or the guest may access, what the entry names. */
  static boolean isPresent(long entry) {
    return (entry & RWX) != 0;
  }

  static boolean isLocked(long entry) {
    return (entry & LOCK) != 0;
  }

  /** The entry without its lock and HOST_PRIORITY. */
  static long bare(long entry) {
    return entry & ~LOCK & ~HOST_PRIORITY;
  }

  /** The page or table that the entry names. */
  static long hpa(long entry, int level) {
    return entry & HPA & ~acceptCounterBits(entry, level);
  }

  /** How many 4K chunks of a PENDING 2M page the guest has accepted. */
  static int acceptCounter(long entry, int level) {
    return (int) ((entry & acceptCounterBits(entry, level)) >>> 12);
  }

  /** The PENDING 2M entry with {@code chunks} accepted. */
  static long withAcceptCounter(long entry, int chunks) {
    return entry | (long) chunks << 12;
  }

  /** The entry with no accept progress. */
  static long withoutAcceptCounter(long entry, int level) {
    return entry & ~acceptCounterBits(entry, level);
  }

  /** The same page or table in another state, unlocked, with no accept progress. */
  static long withState(long entry, int level, SeptState state) {
    return of(state, hpa(entry, level));
  }

  /** R, W and X of the entry, where an exit qualification has them. */
  static long permissionsInQualification(long entry) {
    return (entry & RWX) << 3;
  }

  /** What the host is shown in RCX: no state, no locks, no address of a table. */
  static long view(long entry, int level) {
    SeptState state = SeptState.of(entry);
    if (!state.isInUse()) {
      return SUPPRESS_VE;
    }
    return state.isLeaf()
        ? entry & LEAF_VIEW & ~acceptCounterBits(entry, level)
        : entry & NON_LEAF_VIEW;
  }

  /** What the host is shown in RDX. */
  static long levelAndState(long entry, int level) {
    return level | (long) SeptState.of(entry).arch() << 8;
  }

  /** How many 4K pages an entry of this level covers. */
  static long pages(int level) {
    return 1L << (9 * level);
  }

  /** The size in bytes of what an entry of this level covers. */
  static long bytes(int level) {
    return pages(level) << 12;
  }

  private static long acceptCounterBits(long entry, int level) {
    return level == 1 && SeptState.of(entry).isLeaf() ? 0x1FF000 : 0;
  }
}
