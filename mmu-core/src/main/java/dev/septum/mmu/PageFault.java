package dev.septum.mmu;

import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** One page fault on its way through the MMU ({@code struct kvm_page_fault}). */
public final class PageFault {

  /** Error code bits ({@code PFERR_*}). */
  static final long PRESENT = 1;

  static final long WRITE = 1L << 1;
  static final long USER = 1L << 2;
  static final long RSVD = 1L << 3;
  static final long FETCH = 1L << 4;

  /** The guest took the page to be private. */
  public static final long PRIVATE = 1L << 49;

  /** What the pfn is while there is none ({@code KVM_PFN_NOSLOT}). */
  private static final long NO_PFN = 1L << 63;

  private record Flag(long bit, String name) {}

  private static final List<Flag> FLAGS =
      List.of(
          new Flag(PRESENT, "P"),
          new Flag(WRITE, "W"),
          new Flag(USER, "U"),
          new Flag(1L << 5, "PK"),
          new Flag(1L << 6, "SS"),
          new Flag(1L << 15, "SGX"),
          new Flag(RSVD, "RSVD"),
          new Flag(FETCH, "F"));

  private final long gpa;
  private final long errorCode;
  private final boolean prefetch;
  private final boolean nxWorkaround;
  private final long gfn;
  private final boolean direct;

  private PageLevel maxLevel = PageLevel.LEVEL_1G;
  private PageLevel reqLevel = PageLevel.LEVEL_4K;
  private PageLevel goalLevel = PageLevel.LEVEL_4K;
  private boolean hugePageDisallowed;
  private @Nullable Memslot slot;
  private long pfn = NO_PFN;
  private boolean mapWritable;
  private long mmuSeq;
  private @Nullable GfnRange mirrorLeafInTheWay;

  PageFault(KvmMmu mmu, long gpa, long errorCode, boolean prefetch) {
    this.gpa = gpa;
    this.errorCode = errorCode;
    this.prefetch = prefetch;
    this.nxWorkaround = mmu.isNxHugePages();
    long bits = mmu.gfnDirectBits();
    this.direct = bits == 0 || ((gpa >>> 12) & bits) != 0;
    this.gfn = (gpa >>> 12) & ~bits;
  }

  /** The faulting address in bytes, with the shared bit. */
  long gpa() {
    return gpa;
  }

  long errorCode() {
    return errorCode;
  }

  /** The faulting frame, without the shared bit. */
  long gfn() {
    return gfn;
  }

  boolean isPrivate() {
    return (errorCode & PRIVATE) != 0;
  }

  boolean isWrite() {
    return (errorCode & WRITE) != 0;
  }

  boolean isExec() {
    return (errorCode & FETCH) != 0;
  }

  boolean isPresent() {
    return (errorCode & PRESENT) != 0;
  }

  boolean isReserved() {
    return (errorCode & RSVD) != 0;
  }

  boolean isPrefetch() {
    return prefetch;
  }

  /** Whether huge pages were mapped non-executable when the fault began. */
  boolean isNxWorkaround() {
    return nxWorkaround;
  }

  /** Whether the address belongs to the direct root, not to the mirror root. */
  boolean isDirect() {
    return direct;
  }

  @Nullable Memslot slot() {
    return slot;
  }

  void setSlot(@Nullable Memslot newSlot) {
    slot = newSlot;
  }

  boolean hasPfn() {
    return pfn != NO_PFN;
  }

  /** First frame of the page at the goal level. */
  long pfn() {
    return pfn;
  }

  /** Sets what the fault resolved to: the 4K frame itself, and how large a page may be. */
  void resolve(long framePfn, boolean writable, PageLevel largest) {
    pfn = framePfn;
    mapWritable = writable;
    maxLevel = PageLevel.min(maxLevel, largest);
  }

  boolean isMapWritable() {
    return mapWritable;
  }

  PageLevel maxLevel() {
    return maxLevel;
  }

  PageLevel reqLevel() {
    return reqLevel;
  }

  void setReqLevel(PageLevel level) {
    reqLevel = level;
  }

  PageLevel goalLevel() {
    return goalLevel;
  }

  boolean isHugePageDisallowed() {
    return hugePageDisallowed;
  }

  void disallowHugePage() {
    hugePageDisallowed = true;
  }

  /** Aims at a huge page: the pfn becomes its first frame. */
  void raiseGoal(PageLevel level) {
    goalLevel = level;
    pfn = level.alignDown(pfn);
  }

  /** Aims one level lower: the pfn becomes the first frame of the smaller page around the gfn. */
  void lowerGoal() {
    PageLevel lower = goalLevel.below();
    pfn |= gfn & (goalLevel.pages() - lower.pages());
    goalLevel = lower;
  }

  long mmuSeq() {
    return mmuSeq;
  }

  void setMmuSeq(long seq) {
    mmuSeq = seq;
  }

  /** The huge mirror leaf that must be split before the fault can go on, or null. */
  @Nullable GfnRange mirrorLeafInTheWay() {
    return mirrorLeafInTheWay;
  }

  void setMirrorLeafInTheWay(GfnRange leaf) {
    mirrorLeafInTheWay = leaf;
  }

  /** The error code as trace events print it. */
  static String errorCodeText(long errorCode) {
    List<String> names = new ArrayList<>();
    long rest = errorCode;
    for (Flag flag : FLAGS) {
      if ((rest & flag.bit) != 0) {
        names.add(flag.name);
        rest &= ~flag.bit;
      }
    }
    if (rest != 0) {
      names.add("0x" + Long.toHexString(rest));
    }
    return String.join("|", names);
  }
}
