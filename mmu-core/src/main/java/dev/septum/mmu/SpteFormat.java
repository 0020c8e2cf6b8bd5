package dev.septum.mmu;

import dev.septum.kvm.MirrorSpte;
import dev.septum.kvm.PageLevel;

/**
 * The bits of a shadow page table entry, as masks: EPT and NPT are two values of this type.
 *
 * <p>Models {@code spte.h} and {@code spte.c}. Everything that reads or makes an SPTE asks here;
 * the meaning of a bit is decoded nowhere else.
 */
public final class SpteFormat {

  /** An entry that maps nothing ({@code SHADOW_NONPRESENT_VALUE}). */
  public static final long NONPRESENT = 1L << 63;

  /** An entry that one thread is changing and nobody else may touch ({@code FROZEN_SPTE}). */
  public static final long FROZEN = NONPRESENT | 0x5a0;

  private static final long MMU_PRESENT = 1L << 11;
  private static final long WRITABLE = 1L << 1;
  private static final long LARGE = 1L << 7;
  private static final long PFN_MASK = MirrorSpte.PFN_MASK;
  private static final long AD_TYPE_MASK = 3L << 52;
  private static final long AD_DISABLED = 1L << 52;

  /** R of an EPT entry, P of an NPT one. */
  private static final long READ = 1;

  /** Generation bits of an MMIO SPTE: 7:0 at 10:3, 18:8 at 62:52. */
  private static final int MMIO_GEN_LOW_SHIFT = 3;

  private static final int MMIO_GEN_LOW_BITS = 8;
  private static final int MMIO_GEN_HIGH_SHIFT = 52;
  private static final int MMIO_GEN_BITS = 19;
  private static final long MMIO_GEN_MASK = (0xffL << MMIO_GEN_LOW_SHIFT) | (0x7ffL << 52);

  private final long presentMask;
  private final long userMask;
  private final long execMask;
  private final long nxMask;
  private final long accessedMask;
  private final long dirtyMask;
  private final long hostWritableMask;
  private final long mmuWritableMask;
  private final long leafMemType;
  private final boolean adEnabled;
  private final long mmioValue;
  private final long mmioMask;
  private final long mmioAccess;

  private SpteFormat(Builder b) {
    presentMask = b.presentMask;
    userMask = b.userMask;
    execMask = b.execMask;
    nxMask = b.nxMask;
    accessedMask = b.accessedMask;
    dirtyMask = b.dirtyMask;
    hostWritableMask = b.hostWritableMask;
    mmuWritableMask = b.mmuWritableMask;
    leafMemType = b.leafMemType;
    adEnabled = b.adEnabled;
    mmioValue = b.mmioValue;
    mmioMask = b.mmioMask;
    mmioAccess = b.mmioAccess;
  }

  private static final class Builder {
    long presentMask;
    long userMask;
    long execMask;
    long nxMask;
    long accessedMask;
    long dirtyMask;
    long hostWritableMask;
    long mmuWritableMask;
    long leafMemType;
    boolean adEnabled = true;
    long mmioValue;
    long mmioMask;
    long mmioAccess;
  }

  private static Builder eptBuilder() {
    Builder b = new Builder();
    b.presentMask = NONPRESENT; // Suppress-#VE; R is not needed where execute-only exists.
    b.userMask = 1;
    b.execMask = 1L << 2;
    b.accessedMask = 1L << 8;
    b.dirtyMask = 1L << 9;
    b.hostWritableMask = 1L << 57;
    b.mmuWritableMask = 1L << 58;
    b.leafMemType = (6L << 3) | (1L << 6); // WB, guest PAT ignored.
    b.mmioValue = 6;
    b.mmioMask = NONPRESENT | 7;
    return b;
  }

  /** EPT of an ordinary VM on a CPU with execute-only mappings and A/D bits. */
  public static SpteFormat ept() {
    return new SpteFormat(eptBuilder());
  }

  /** EPT of an ordinary VM on a CPU without A/D bits: accesses are tracked in software. */
  public static SpteFormat eptWithoutAccessDirty() {
    Builder b = eptBuilder();
    b.adEnabled = false;
    return new SpteFormat(b);
  }

  /** EPT of a TD: guest PAT is honoured, and MMIO gives a #VE instead of a misconfiguration. */
  public static SpteFormat eptForTd() {
    Builder b = eptBuilder();
    b.leafMemType = 6L << 3;
    b.mmioValue = 0;
    return new SpteFormat(b);
  }

  /** NPT: AMD's nested page table. */
  public static SpteFormat npt() {
    Builder b = new Builder();
    b.presentMask = 1;
    b.userMask = 1L << 2;
    b.nxMask = 1L << 63;
    b.accessedMask = 1L << 5;
    b.dirtyMask = 1L << 6;
    b.hostWritableMask = 1L << 9;
    b.mmuWritableMask = 1L << 10;
    b.mmioValue = (1L << 51) | 1;
    b.mmioMask = (1L << 51) | 1;
    b.mmioAccess = 6;
    return new SpteFormat(b);
  }

  /** Whether the entry maps something: a page or a table ({@code is_shadow_present_pte}). */
  public boolean isPresent(long spte) {
    return (spte & MMU_PRESENT) != 0;
  }

  /** Whether a present entry at this level maps a page ({@code is_last_spte}). */
  public boolean isLeaf(long spte, PageLevel level) {
    return level == PageLevel.LEVEL_4K || (spte & LARGE) != 0;
  }

  /** Whether the entry is a present 2M or 1G leaf. */
  public boolean isPresentHuge(long spte) {
    return isPresent(spte) && (spte & LARGE) != 0;
  }

  /** Whether the entry is a present leaf at this level. */
  public boolean isPresentLeaf(long spte, PageLevel level) {
    return isPresent(spte) && isLeaf(spte, level);
  }

  /** Whether the entry points to a table. */
  public boolean isPresentTable(long spte, PageLevel level) {
    return isPresent(spte) && !isLeaf(spte, level);
  }

  /** The host frame of a present entry. */
  public long pfn(long spte) {
    return MirrorSpte.pfn(spte);
  }

  /** Whether hardware lets the guest write. */
  public boolean isWritable(long spte) {
    return (spte & WRITABLE) != 0;
  }

  /** Whether KVM may make the entry writable without looking at anything else. */
  public boolean isMmuWritable(long spte) {
    return (spte & mmuWritableMask) != 0;
  }

  /** Whether the host lets KVM map the page writable. */
  public boolean isHostWritable(long spte) {
    return (spte & hostWritableMask) != 0;
  }

  /** Whether hardware lets the guest execute. */
  public boolean isExecutable(long spte) {
    return (spte & (execMask | nxMask)) == execMask;
  }

  /** Whether hardware lets the guest read in user mode. */
  public boolean isUser(long spte) {
    return (spte & userMask) != 0;
  }

  /** Whether the accessed bit is set. */
  public boolean isAccessed(long spte) {
    return (spte & accessedMask) != 0;
  }

  /** Whether the dirty bit is set. */
  public boolean isDirty(long spte) {
    return (spte & dirtyMask) != 0;
  }

  /** Whether the CPU keeps A/D bits. */
  public boolean isAdEnabled() {
    return adEnabled;
  }

  /** Whether the entry is an MMIO SPTE ({@code is_mmio_spte}). */
  public boolean isMmio(long spte) {
    return !isPresent(spte) && (spte & mmioMask) == mmioValue;
  }

  /** Whether the entry lets through what the fault wanted ({@code is_access_allowed}). */
  boolean isAccessAllowed(PageFault fault, long spte) {
    if (fault.isExec()) {
      return isExecutable(spte);
    }
    return fault.isWrite() ? isWritable(spte) : (spte & READ) != 0;
  }

  /** Whether the entry can change outside mmu_lock ({@code spte_needs_atomic_update}). */
  public boolean needsAtomicUpdate(long spte) {
    boolean fastFixable = !isWritable(spte) && isMmuWritable(spte);
    return fastFixable || !adEnabled || (isWritable(spte) && !isDirty(spte));
  }

  /** Whether the two facts a writable bit rests on are consistent. */
  public boolean isWritabilityConsistent(long spte) {
    return isMmuWritable(spte) ? isHostWritable(spte) : !isWritable(spte);
  }

  /**
   * The entry that maps a page ({@code make_spte} with all access).
   *
   * @param traits what the mapping is like
   * @param allowExec false where NX huge pages forbid execution
   */
  public long makeLeaf(PageLevel level, long pfn, LeafTraits traits, boolean allowExec) {
    long spte = MMU_PRESENT | presentMask | userMask | leafMemType | (pfn << 12);
    if (!adEnabled) {
      spte |= AD_DISABLED;
    }
    spte |= allowExec ? execMask : nxMask;
    if (level != PageLevel.LEVEL_4K) {
      spte |= LARGE;
    }
    if (traits.hostWritable()) {
      spte |= hostWritableMask;
      if (!traits.writeTracked()) {
        spte |= WRITABLE | mmuWritableMask | dirtyMask;
      }
    }
    spte |= accessedMask;
    return traits.prefetch() ? markForAccessTrack(spte) : spte;
  }

  /** The entry that points to a table ({@code make_nonleaf_spte}). */
  public long makeNonleaf(long tablePfn) {
    long ad = adEnabled ? accessedMask : AD_DISABLED;
    return MMU_PRESENT | presentMask | userMask | WRITABLE | execMask | ad | (tablePfn << 12);
  }

  /**
   * The first of the 512 entries that a split makes of a huge one; the others follow at {@link
   * #splitStride} ({@code make_small_spte}).
   *
   * @param nxHugePages whether huge pages are mapped non-executable; 4K children then regain X
   */
  public long makeSmall(long huge, PageLevel childLevel, boolean nxHugePages) {
    long spte = huge;
    if (childLevel == PageLevel.LEVEL_4K) {
      spte &= ~LARGE;
      if (nxHugePages) {
        spte = protect(spte, execMask, nxMask);
      }
    }
    return spte;
  }

  /** The distance between neighbouring children of a split, as added to the SPTE. */
  public static long splitStride(PageLevel childLevel) {
    return childLevel.pages() << 12;
  }

  /** The huge entry that takes over from a table of small ones ({@code make_huge_spte}). */
  public long makeHuge(long small, PageLevel level, boolean nxHugePages) {
    long spte = (small | LARGE) & ~((level.pages() - 1) << 12);
    return nxHugePages ? protect(spte, nxMask, execMask) : spte;
  }

  /** The entry without write permission; it can be given back without a lookup. */
  public long writeProtect(long spte) {
    return spte & ~WRITABLE;
  }

  /** The entry without write permission, and with none to be had before a lookup. */
  public long writeTrack(long spte) {
    return spte & ~(WRITABLE | mmuWritableMask);
  }

  /** The entry with the dirty bit cleared. */
  public long clearDirty(long spte) {
    return spte & ~dirtyMask;
  }

  /** The entry with write permission ({@code spte | PT_WRITABLE_MASK}). */
  public long makeWritable(long spte) {
    return spte | WRITABLE;
  }

  /** The entry that reports the next access ({@code mark_spte_for_access_track}). */
  public long markForAccessTrack(long spte) {
    if (adEnabled) {
      return spte & ~accessedMask;
    }
    if (isAccessTracked(spte)) {
      return spte;
    }
    long saved = (spte & (userMask | execMask)) << 54;
    return (spte & ~(userMask | WRITABLE | execMask | accessedMask)) | saved;
  }

  /** The entry with what {@link #markForAccessTrack} took away, but for W. */
  public long restoreAccessTrack(long spte) {
    long savedMask = (userMask | execMask) << 54;
    long restored = (spte & savedMask) >>> 54;
    return (spte & ~(savedMask | userMask | WRITABLE | execMask)) | restored;
  }

  /** Whether permissions were taken away to see the next access ({@code is_access_track_spte}). */
  public boolean isAccessTracked(long spte) {
    return (spte & AD_TYPE_MASK) == AD_DISABLED && (spte & (userMask | WRITABLE | execMask)) == 0;
  }

  /** The entry of an access-tracked page that was accessed again. */
  long markAccessed(long spte) {
    return restoreAccessTrack(spte) | accessedMask;
  }

  /** The entry that says "no memory here, emulate" ({@code make_mmio_spte}). */
  public long makeMmio(long gfn, long generation) {
    long gen = truncateGeneration(generation);
    long low = (gen & ((1L << MMIO_GEN_LOW_BITS) - 1)) << MMIO_GEN_LOW_SHIFT;
    long high = (gen >>> MMIO_GEN_LOW_BITS) << MMIO_GEN_HIGH_SHIFT;
    return low | high | mmioValue | mmioAccess | (gfn << 12);
  }

  /** The memslot generation kept in an MMIO SPTE. */
  public long mmioGeneration(long spte) {
    long gen = spte & MMIO_GEN_MASK;
    long low = (gen >>> MMIO_GEN_LOW_SHIFT) & 0xff;
    return low | ((gen >>> MMIO_GEN_HIGH_SHIFT) << MMIO_GEN_LOW_BITS);
  }

  /** The bits of a memslot generation that an MMIO SPTE can keep. */
  static long truncateGeneration(long generation) {
    return generation & ((1L << MMIO_GEN_BITS) - 1);
  }

  /** The gfn kept in an MMIO SPTE. */
  public long mmioGfn(long spte) {
    return (spte & PFN_MASK & ~mmioValue) >>> 12;
  }

  /** The access rights kept in an MMIO SPTE, none of them in EPT ({@code get_mmio_spte_access}). */
  long mmioAccess(long spte) {
    return spte & mmioAccess;
  }

  /** The access bits kept in an MMIO SPTE, as {@code mark_mmio_spte} prints them. */
  static int mmioAccessBits(long spte) {
    return (int) (spte & 7);
  }

  /** The leaf after the processor has read or executed through it. */
  long afterRead(long spte) {
    return adEnabled ? spte | accessedMask : spte;
  }

  /** The leaf after the processor has written through it. */
  long afterWrite(long spte) {
    return adEnabled ? spte | accessedMask | dirtyMask : spte;
  }

  /**
   * Changes permissions, also those of an access-tracked entry ({@code modify_spte_protections}).
   */
  private long protect(long spte, long set, long clear) {
    boolean tracked = !adEnabled && isAccessTracked(spte);
    long restored = tracked ? restoreAccessTrack(spte) : spte;
    long changed = (restored | set) & ~clear;
    return tracked ? markForAccessTrack(changed) : changed;
  }
}
