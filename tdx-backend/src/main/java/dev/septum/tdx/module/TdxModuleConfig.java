package dev.septum.tdx.module;

import static com.google.common.base.Preconditions.checkArgument;

/**
 * The module's version, features and platform.
 *
 * @param dynamicPamt whether SYS.CONFIG was called with R8 bit 16
 * @param enhancedDemoteInterruptibility whether DEMOTE of an unpartitioned TD ignores interrupts
 *     (since 1.5.28); without it the module behaves as 1.5.25 there
 * @param nonBlockingResize whether DEMOTE takes an unblocked leaf, without TLB tracking
 * @param fiveLevel whether a TD may have 52-bit GPAs
 * @param hkidShift the lowest physical address bit that carries the HKID; below it is the address
 * @param globalHkid the module's own HKID, which no TD can have; KeyID 0 is the only shared one
 * @param version the module's version, for reports
 */
public record TdxModuleConfig(
    boolean dynamicPamt,
    boolean enhancedDemoteInterruptibility,
    boolean nonBlockingResize,
    boolean fiveLevel,
    int hkidShift,
    int globalHkid,
    String version) {

  /** TDX_FEATURES0 bit 35, as {@code NON_BLOCKING_RESIZE}. No public source gives its number. */
  public static final int FEATURE_NON_BLOCKING_RESIZE = 35;

  /** TDX_FEATURES0 bit 36. */
  public static final int FEATURE_DYNAMIC_PAMT = 36;

  /** TDX_FEATURES0 bit 51. */
  public static final int FEATURE_ENHANCED_DEMOTE_INTERRUPTIBILITY = 51;

  /**
   * RELAXED_MEM_MNG_CONCURRENCY, HOST_PRIORITY_LOCKS, PENDING_EPT_VIOLATION_V2, NO_RBP_MOD: always.
   */
  private static final long BASE_FEATURES = 1L << 4 | 1L << 10 | 1L << 16 | 1L << 18;

  public TdxModuleConfig {
    checkArgument(hkidShift >= 40 && hkidShift <= 48, "HKID field at bit %s", hkidShift);
    checkArgument(
        globalHkid > 0 && globalHkid < 1 << (52 - hkidShift),
        "global HKID %s is not private",
        globalHkid);
  }

  /** A 1.5.28 module with Dynamic PAMT, on a machine with 128 HKIDs. */
  public static TdxModuleConfig defaults() {
    return new TdxModuleConfig(true, true, false, true, 45, 127, "1.5.28");
  }

  /** The same with static or Dynamic PAMT. */
  public TdxModuleConfig withDynamicPamt(boolean value) {
    return new TdxModuleConfig(
        value,
        enhancedDemoteInterruptibility,
        nonBlockingResize,
        fiveLevel,
        hkidShift,
        globalHkid,
        version);
  }

  /** The same with or without {@code ENHANCED_DEMOTE_INTERRUPTIBILITY}. */
  public TdxModuleConfig withEnhancedDemoteInterruptibility(boolean value) {
    return new TdxModuleConfig(
        dynamicPamt, value, nonBlockingResize, fiveLevel, hkidShift, globalHkid, version);
  }

  /** The same with or without {@code NON_BLOCKING_RESIZE}. */
  public TdxModuleConfig withNonBlockingResize(boolean value) {
    return new TdxModuleConfig(
        dynamicPamt,
        enhancedDemoteInterruptibility,
        value,
        fiveLevel,
        hkidShift,
        globalHkid,
        version);
  }

  /** The same with or without TDs of 52-bit GPAs. */
  public TdxModuleConfig withFiveLevel(boolean value) {
    return new TdxModuleConfig(
        dynamicPamt,
        enhancedDemoteInterruptibility,
        nonBlockingResize,
        value,
        hkidShift,
        globalHkid,
        version);
  }

  /** The same under another version. */
  public TdxModuleConfig withVersion(String value) {
    return new TdxModuleConfig(
        dynamicPamt,
        enhancedDemoteInterruptibility,
        nonBlockingResize,
        fiveLevel,
        hkidShift,
        globalHkid,
        value);
  }

  /** The metadata field TDX_FEATURES0. */
  public long features0() {
    return BASE_FEATURES
        | bit(FEATURE_DYNAMIC_PAMT, dynamicPamt)
        | bit(FEATURE_ENHANCED_DEMOTE_INTERRUPTIBILITY, enhancedDemoteInterruptibility)
        | bit(FEATURE_NON_BLOCKING_RESIZE, nonBlockingResize);
  }

  /** Whether {@code hpa} is a 52-bit address without HKID bits. */
  boolean isPlainAddress(long hpa) {
    return hpa >>> hkidShift == 0;
  }

  /** {@code hpa} without its HKID bits. */
  long withoutHkid(long hpa) {
    return hpa & ~(((1L << 52) - 1) & ~((1L << hkidShift) - 1));
  }

  /** Whether a TD may be given this HKID number. */
  boolean isPrivateHkid(long hkid) {
    return hkid > 0 && hkid < 1L << (52 - hkidShift);
  }

  private static long bit(int number, boolean set) {
    return set ? 1L << number : 0;
  }
}
