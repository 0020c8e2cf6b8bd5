package dev.septum.tdx.module;

import static com.google.common.base.Preconditions.checkArgument;

import com.google.common.collect.ImmutableList;
import java.util.ArrayList;
import java.util.List;

/**
 * What SYS.CONFIG reads from a TDMR_INFO.
 *
 * @param range the TDMR
 * @param pamts where its PAMT is, for 1G, 2M and 4K entries in this order; in dynamic mode the last
 *     is the bitmap's place
 * @param reserved its reserved areas, whose bases are offsets into the TDMR; no more than 16
 */
public record TdmrInfo(
    PhysicalRange range, List<PhysicalRange> pamts, List<PhysicalRange> reserved) {

  /** MAX_RESERVED_PER_TDMR. */
  static final int MAX_RESERVED = 16;

  public TdmrInfo {
    checkArgument(pamts.size() == 3, "%s PAMT regions, not 3", pamts.size());
    checkArgument(reserved.size() <= MAX_RESERVED, "%s reserved areas", reserved.size());
    pamts = ImmutableList.copyOf(pamts);
    reserved = ImmutableList.copyOf(reserved);
  }

  /** Where a reserved area is in memory. */
  PhysicalRange reservedArea(int index) {
    PhysicalRange area = reserved.get(index);
    return new PhysicalRange(range.base() + area.base(), area.bytes());
  }

  /** The parts of the TDMR between its reserved areas, which are in order. */
  List<PhysicalRange> available() {
    List<PhysicalRange> available = new ArrayList<>();
    long from = range.base();
    for (int i = 0; i < reserved.size(); i++) {
      PhysicalRange area = reservedArea(i);
      available.add(new PhysicalRange(from, area.base() - from));
      from = area.end();
    }
    available.add(new PhysicalRange(from, range.end() - from));
    available.removeIf(part -> part.bytes() == 0);
    return available;
  }
}
