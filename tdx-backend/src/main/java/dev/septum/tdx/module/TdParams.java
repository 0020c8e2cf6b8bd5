package dev.septum.tdx.module;

import static com.google.common.base.Preconditions.checkArgument;

/**
 * What MNG.INIT reads from TD_PARAMS.
 *
 * @param attributes the TD's ATTRIBUTES
 * @param gpaw whether GPAs have 52 bits, and the S-EPT five levels, instead of 48 and four
 * @param maxVcpus how many vCPUs may be initialised
 * @param flexiblePendingVe CONFIG_FLAGS.FLEXIBLE_PENDING_VE: the guest may change its mind about
 *     SEPT_VE_DISABLE
 * @param hostPriorityTimeout HP_LOCK_TIMEOUT in microseconds, 10 ms to 100 s
 */
public record TdParams(
    long attributes,
    boolean gpaw,
    int maxVcpus,
    boolean flexiblePendingVe,
    long hostPriorityTimeout) {

  /** ATTRIBUTES.DEBUG: the host may read and write the TD's memory. */
  public static final long DEBUG = 1;

  /** ATTRIBUTES.SEPT_VE_DISABLE: touching a PENDING page is an exit, not a #VE. */
  public static final long SEPT_VE_DISABLE = 1L << 28;

  private static final long DEFAULT_HOST_PRIORITY_TIMEOUT = 1_000_000;

  public TdParams {
    checkArgument(maxVcpus > 0, "a TD with max_vcpus %s can not run", maxVcpus);
    checkArgument(
        hostPriorityTimeout >= 10_000 && hostPriorityTimeout <= 100_000_000,
        "a host priority timeout of %s us",
        hostPriorityTimeout);
  }

  /** Parameters with the module's own choice for the rest. */
  public TdParams(long attributes, boolean gpaw, int maxVcpus) {
    this(attributes, gpaw, maxVcpus, false, DEFAULT_HOST_PRIORITY_TIMEOUT);
  }

  /** A TD with four S-EPT levels and SEPT_VE_DISABLE, as Linux guests ask for. */
  public static TdParams defaults() {
    return new TdParams(SEPT_VE_DISABLE, false, 64);
  }

  /** The same with other attributes. */
  public TdParams withAttributes(long newAttributes) {
    return new TdParams(newAttributes, gpaw, maxVcpus, flexiblePendingVe, hostPriorityTimeout);
  }

  /** The same with 48-bit or 52-bit GPAs. */
  public TdParams withGpaw(boolean newGpaw) {
    return new TdParams(attributes, newGpaw, maxVcpus, flexiblePendingVe, hostPriorityTimeout);
  }

  /** The same with another limit of vCPUs. */
  public TdParams withMaxVcpus(int newMaxVcpus) {
    return new TdParams(attributes, gpaw, newMaxVcpus, flexiblePendingVe, hostPriorityTimeout);
  }

  /** The same with or without {@code FLEXIBLE_PENDING_VE}. */
  public TdParams withFlexiblePendingVe(boolean value) {
    return new TdParams(attributes, gpaw, maxVcpus, value, hostPriorityTimeout);
  }

  /** The same with another {@code HP_LOCK_TIMEOUT}, in microseconds. */
  public TdParams withHostPriorityTimeout(long value) {
    return new TdParams(attributes, gpaw, maxVcpus, flexiblePendingVe, value);
  }

  boolean isDebug() {
    return (attributes & DEBUG) != 0;
  }

  boolean isSeptVeDisabled() {
    return (attributes & SEPT_VE_DISABLE) != 0;
  }
}
