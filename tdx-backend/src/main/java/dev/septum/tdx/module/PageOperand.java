package dev.septum.tdx.module;

import dev.septum.kernel.LockMode;
import org.jspecify.annotations.Nullable;

/**
 * A physical page that the host named in a register, checked and locked in the PAMT until the end
 * of the call: the module's {@code check_and_lock_explicit_*_private_hpa}.
 *
 * @param hpa the page
 * @param entry its PAMT leaf
 */
record PageOperand(long hpa, PamtEntry entry) {

  /** Checks a 4K page that must have this type; null if the call is refused. */
  static @Nullable PageOperand lock(
      Seamcall call, long hpa, PageType expected, LockMode mode, int operand) {
    PamtEntry entry = walk(call, hpa, 0, mode, operand);
    if (entry == null) {
      return null;
    }
    if (entry.level() != 0) {
      call.refuse(wrongSize(call, entry, expected), operand);
      return null;
    }
    boolean right = entry.type() == expected && !isUsedAsPamt(call, hpa, expected);
    return call.require(right, TdxStatus.TDX_PAGE_METADATA_INCORRECT, operand)
        ? new PageOperand(hpa, entry)
        : null;
  }

  /** Checks and locks a free 4K page. */
  static @Nullable PageOperand lockFree(Seamcall call, long hpa, int operand) {
    return lock(call, hpa, PageType.NDA, LockMode.EXCLUSIVE, operand);
  }

  /** Checks a page of this level that must be free from end to end; null if the call is refused. */
  static @Nullable PageOperand lockFreeRange(Seamcall call, long hpa, int level, int operand) {
    if (level == 0) {
      return lockFree(call, hpa, operand);
    }
    PamtEntry entry = walk(call, hpa, level, LockMode.EXCLUSIVE, operand);
    if (entry == null) {
      return null;
    }
    boolean free =
        entry.level() == level && entry.isFree() && call.module().pamt().isRangeFree(hpa);
    return call.require(free, TdxStatus.TDX_PAGE_METADATA_INCORRECT, operand)
        ? new PageOperand(hpa, entry)
        : null;
  }

  /** Walks to whatever leaf stands for {@code hpa}; null if the call is refused. */
  static @Nullable PamtEntry walk(Seamcall call, long hpa, int target, LockMode mode, int operand) {
    return isFormatted(call, hpa, target, operand) && isCovered(call, hpa, operand)
        ? walkCovered(call, hpa, target, mode, operand)
        : null;
  }

  /** Walks to the leaf for an address that is known to be in the TDMR. */
  static @Nullable PamtEntry walkCovered(
      Seamcall call, long hpa, int target, LockMode mode, int operand) {
    PamtWalk walk =
        call.isContended(operand) ? null : PamtWalk.start(call.module().pamt(), hpa, target, mode);
    if (walk == null) {
      call.refuse(TdxStatus.TDX_OPERAND_BUSY, operand);
      return null;
    }
    call.holdUntilEnd(walk::release);
    return walk.leaf();
  }

  /** Refuses an address that is not aligned or has HKID or higher bits. */
  static boolean isFormatted(Seamcall call, long hpa, int level, int operand) {
    boolean right =
        call.module().config().isPlainAddress(hpa) && (hpa & SeptEntry.bytes(level) - 1) == 0;
    return call.require(right, TdxStatus.TDX_OPERAND_INVALID, operand);
  }

  /** Refuses an address outside the TDMR. */
  static boolean isCovered(Seamcall call, long hpa, int operand) {
    return call.require(
        call.module().pamt().covers(hpa), TdxStatus.TDX_OPERAND_ADDR_RANGE_ERROR, operand);
  }

  /** Puts the page to use for a TD, and counts it. */
  void assign(Seamcall call, PageType type, Td owner) {
    call.module().pamt().assign(entry, hpa, type, owner.tdrHpa());
    owner.childCount().addAndGet(SeptEntry.pages(entry.level()));
  }

  private static long wrongSize(Seamcall call, PamtEntry entry, PageType expected) {
    boolean pairMissing =
        call.module().pamt().isDynamic()
            && entry.level() == 1
            && entry.isFree()
            && expected == PageType.NDA;
    return pairMissing
        ? TdxStatus.TDX_MISSING_PAMT_PAGE_PAIR
        : TdxStatus.TDX_PAGE_METADATA_INCORRECT;
  }

  private static boolean isUsedAsPamt(Seamcall call, long hpa, PageType expected) {
    return expected == PageType.NDA && call.module().pamt().isPamtPage(hpa);
  }
}
