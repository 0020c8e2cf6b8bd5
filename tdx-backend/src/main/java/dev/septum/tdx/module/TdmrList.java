package dev.septum.tdx.module;

import com.google.common.collect.ImmutableList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The TDMR_INFOs of one SYS.CONFIG, and what must be right about them. */
record TdmrList(List<TdmrInfo> infos) {

  /** MAX_TDMRS. */
  static final int MAX_TDMRS = 64;

  private static final long GIB = 1L << 30;
  private static final long PAGE = 4096;
  private static final long ENTRY_BYTES = 16;

  /** Reads the list that the host left at RCX; null if the call is refused. */
  static @Nullable TdmrList read(Seamcall call) {
    ModuleState module = call.module();
    List<Long> addresses = module.tdmrLists.get(call.in().rcx);
    if (addresses == null || addresses.size() < call.in().rdx) {
      call.refuse(TdxStatus.TDX_OPERAND_INVALID, OperandId.RCX);
      return null;
    }
    ImmutableList.Builder<TdmrInfo> infos = ImmutableList.builder();
    for (int i = 0; i < call.in().rdx; i++) {
      TdmrInfo info = module.tdmrInfos.get(addresses.get(i));
      if (info == null) {
        call.refuse(TdxStatus.TDX_INVALID_TDMR, i);
        return null;
      }
      infos.add(info);
    }
    return new TdmrList(infos.build());
  }

  /** Refuses the first TDMR that is wrong; the detail says which, and where in it. */
  boolean isRight(Seamcall call) {
    for (int i = 0; i < infos.size(); i++) {
      if (!isRangeRight(call, i) || !areAreasRight(call, i) || !arePamtsRight(call, i)) {
        return false;
      }
    }
    return true;
  }

  private boolean isRangeRight(Seamcall call, int index) {
    PhysicalRange range = infos.get(index).range();
    boolean formatted =
        range.bytes() > 0
            && range.isAligned(GIB)
            && call.module().config().isPlainAddress(range.end() - 1);
    return call.require(formatted, TdxStatus.TDX_INVALID_TDMR, index)
        && call.require(
            index == 0 || infos.get(index - 1).range().end() <= range.base(),
            TdxStatus.TDX_NON_ORDERED_TDMR,
            index);
  }

  private boolean areAreasRight(Seamcall call, int index) {
    TdmrInfo info = infos.get(index);
    long end = info.range().base();
    for (int i = 0; i < info.reserved().size(); i++) {
      PhysicalRange area = info.reservedArea(i);
      boolean formatted =
          area.bytes() > 0
              && area.isAligned(PAGE)
              && area.base() >= info.range().base()
              && area.end() <= info.range().end();
      if (!call.require(formatted, TdxStatus.TDX_INVALID_RESERVED_IN_TDMR, index | i << 8)
          || !call.require(
              area.base() >= end, TdxStatus.TDX_NON_ORDERED_RESERVED_IN_TDMR, index | i << 8)) {
        return false;
      }
      end = area.end();
    }
    return call.require(
        info.available().stream().allMatch(call.module().platform()::isConvertible),
        TdxStatus.TDX_TDMR_OUTSIDE_CMRS,
        index);
  }

  private boolean arePamtsRight(Seamcall call, int index) {
    for (int part = 0; part < 3; part++) {
      // The regions are listed from the largest entries down; levels count up from the smallest.
      int level = 2 - part;
      PhysicalRange pamt = infos.get(index).pamts().get(part);
      int detail = index | level << 8;
      boolean formatted =
          pamt.isAligned(PAGE)
              && pamt.bytes() >= pamtBytes(call, infos.get(index).range().bytes(), level)
              && call.module().config().isPlainAddress(pamt.end() - 1);
      if (!call.require(formatted, TdxStatus.TDX_INVALID_PAMT, detail)
          || !call.require(
              call.module().platform().isConvertible(pamt), TdxStatus.TDX_PAMT_OUTSIDE_CMRS, detail)
          || !overlapsNothing(call, index, part)) {
        return false;
      }
    }
    return true;
  }

  /** Refuses a PAMT region inside a TDMR's available part, or where an earlier PAMT region is. */
  private boolean overlapsNothing(Seamcall call, int index, int part) {
    PhysicalRange pamt = infos.get(index).pamts().get(part);
    for (int other = 0; other < infos.size(); other++) {
      boolean clash =
          infos.get(other).available().stream().anyMatch(pamt::overlaps)
              || earlierPamts(other, index, part).stream().anyMatch(pamt::overlaps);
      long detail = index | (2 - part) << 8 | other << 16;
      if (!call.require(!clash, TdxStatus.TDX_PAMT_OVERLAP, detail)) {
        return false;
      }
    }
    return true;
  }

  /** The PAMT regions of TDMR {@code of} that come before region {@code part} of {@code index}. */
  private List<PhysicalRange> earlierPamts(int of, int index, int part) {
    List<PhysicalRange> pamts = infos.get(of).pamts();
    if (of > index) {
      return ImmutableList.of();
    }
    return of < index ? pamts : pamts.subList(0, part);
  }

  /** The size that a region needs: 16 bytes an entry, or a bit for each page. */
  private static long pamtBytes(Seamcall call, long tdmrBytes, int level) {
    boolean dynamic = (call.in().r8 >>> 16 & 1) != 0;
    long exact =
        level == 0 && dynamic
            ? tdmrBytes / PAGE / 8
            : tdmrBytes / SeptEntry.bytes(level) * ENTRY_BYTES;
    return (exact + PAGE - 1) & -PAGE;
  }
}
