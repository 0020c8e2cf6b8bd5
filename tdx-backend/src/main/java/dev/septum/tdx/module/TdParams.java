package dev.septum.tdx.module;

import static com.google.common.base.Preconditions.checkArgument;

/**
 * What MNG.INIT reads from TD_PARAMS.
 *
 * @param attributes the TD's ATTRIBUTES
 * @param gpaw whether GPAs have 52 bits, and the S-EPT five levels, instead of 48 and four
 * @param maxVcpus how many vCPUs may be initialised
 */
public record TdParams(long attributes, boolean gpaw, int maxVcpus) {

  /** ATTRIBUTES.SEPT_VE_DISABLE: touching a PENDING page is an exit, not a #VE. */
  public static final long SEPT_VE_DISABLE = 1L << 28;

  public TdParams {
    checkArgument(maxVcpus > 0, "a TD with max_vcpus %s can not run", maxVcpus);
  }

  /** A TD with four S-EPT levels and SEPT_VE_DISABLE, as Linux guests ask for. */
  public static TdParams defaults() {
    return new TdParams(SEPT_VE_DISABLE, false, 64);
  }

  /** The same with other attributes. */
  public TdParams withAttributes(long newAttributes) {
    return new TdParams(newAttributes, gpaw, maxVcpus);
  }

  /** The same with 48-bit or 52-bit GPAs. */
  public TdParams withGpaw(boolean newGpaw) {
    return new TdParams(attributes, newGpaw, maxVcpus);
  }

  /** The same with another limit of vCPUs. */
  public TdParams withMaxVcpus(int newMaxVcpus) {
    return new TdParams(attributes, gpaw, newMaxVcpus);
  }

  boolean isSeptVeDisabled() {
    return (attributes & SEPT_VE_DISABLE) != 0;
  }
}
