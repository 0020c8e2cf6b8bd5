package dev.septum.tdx.module;

import static com.google.common.base.Preconditions.checkArgument;

import com.google.common.collect.ImmutableList;
import java.util.List;

/**
 * The machine, as the module finds it before SYS.INIT.
 *
 * @param processors how many logical processors must call SYS.LP.INIT, numbered from 0
 * @param packages how many packages must call SYS.KEY.CONFIG, numbered from 0
 * @param cmrs the convertible memory ranges, by address
 */
public record Platform(int processors, int packages, List<PhysicalRange> cmrs) {

  public Platform {
    checkArgument(
        processors > 0 && packages > 0, "%s processors, %s packages", processors, packages);
    cmrs = ImmutableList.copyOf(cmrs);
  }

  /** One package with this many processors and all memory from 0 up convertible. */
  public static Platform of(int processors, long memoryBytes) {
    return new Platform(processors, 1, ImmutableList.of(new PhysicalRange(0, memoryBytes)));
  }

  /** Whether every byte of the range is convertible memory. */
  boolean isConvertible(PhysicalRange range) {
    long checked = range.base();
    for (PhysicalRange cmr : cmrs) {
      checked = cmr.contains(checked) ? cmr.end() : checked;
    }
    return checked >= range.end();
  }
}
