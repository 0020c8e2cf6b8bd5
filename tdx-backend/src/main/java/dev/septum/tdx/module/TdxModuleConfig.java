package dev.septum.tdx.module;

import static com.google.common.base.Preconditions.checkArgument;

/**
 * The module's version, features and platform.
 *
 * @param dynamicPamt whether Dynamic PAMT is offered; a module that starts READY has it enabled
 * @param enhancedDemoteInterruptibility whether DEMOTE of an unpartitioned TD ignores interrupts
 *     (since 1.5.28); without it the module behaves as 1.5.25 there
 * @param nonBlockingResize whether DEMOTE takes an unblocked leaf, without TLB tracking
 * @param fiveLevel whether a TD may have 52-bit GPAs
 * @param hkidShift the lowest physical address bit that carries the HKID; below it is the address
 * @param globalHkid the module's own HKID, which no TD can have, in a module that starts READY;
 *     KeyID 0 is the only shared one
 * @param release the version whose behaviour this is, where no other component says otherwise
 */
public record TdxModuleConfig(
    boolean dynamicPamt,
    boolean enhancedDemoteInterruptibility,
    boolean nonBlockingResize,
    boolean fiveLevel,
    int hkidShift,
    int globalHkid,
    ModuleVersion release) {

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
    checkArgument(hkidShift >= 40 && hkidShift < 52, "HKID field at bit %s", hkidShift);
    checkArgument(
        globalHkid > 0 && globalHkid < 1 << (52 - hkidShift),
        "global HKID %s is not private",
        globalHkid);
  }

  /** A 1.5.28 module with Dynamic PAMT, on a machine with 128 HKIDs. */
  public static TdxModuleConfig defaults() {
    return new TdxModuleConfig(true, true, false, true, 45, 127, ModuleVersion.V1_5_28);
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
        release);
  }

  /** The same with or without {@code ENHANCED_DEMOTE_INTERRUPTIBILITY}. */
  public TdxModuleConfig withEnhancedDemoteInterruptibility(boolean value) {
    return new TdxModuleConfig(
        dynamicPamt, value, nonBlockingResize, fiveLevel, hkidShift, globalHkid, release);
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
        release);
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
        release);
  }

  /** The same as another version does it, and with the features that came with that version. */
  public TdxModuleConfig withRelease(ModuleVersion value) {
    return new TdxModuleConfig(
        dynamicPamt,
        value.demotesInSpiteOfEvents(),
        nonBlockingResize,
        fiveLevel,
        hkidShift,
        globalHkid,
        value);
  }

  /** The same with the HKID from this physical address bit on. */
  public TdxModuleConfig withHkidShift(int value) {
    return new TdxModuleConfig(
        dynamicPamt,
        enhancedDemoteInterruptibility,
        nonBlockingResize,
        fiveLevel,
        value,
        Math.min(globalHkid, (1 << (52 - value)) - 1),
        release);
  }

  /** The module's version, for reports. */
  public String version() {
    return release.label();
  }

  /** The metadata field TDX_FEATURES0. */
  public long features0() {
    return BASE_FEATURES
        | bit(FEATURE_DYNAMIC_PAMT, dynamicPamt)
        | bit(FEATURE_ENHANCED_DEMOTE_INTERRUPTIBILITY, enhancedDemoteInterruptibility)
        | bit(FEATURE_NON_BLOCKING_RESIZE, nonBlockingResize);
  }

  /** Whether a page's address leaves room beside it in a PAMT entry, as Dynamic PAMT needs. */
  boolean fitsDynamicPamt() {
    return hkidShift <= 48;
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
