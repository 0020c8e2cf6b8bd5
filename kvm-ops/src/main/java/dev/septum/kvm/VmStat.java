package dev.septum.kvm;

import java.util.Locale;

/** The statistics of a VM, named as in {@code /sys/kernel/debug/kvm}. */
public enum VmStat {
  /** Flushes that found a vCPU in the guest. */
  REMOTE_TLB_FLUSH,
  /** Flushes asked for. */
  REMOTE_TLB_FLUSH_REQUESTS,
  /** Present 4K leafs over all roots. */
  PAGES_4K,
  /** Present 2M leafs over all roots. */
  PAGES_2M,
  /** Present 1G leafs over all roots. */
  PAGES_1G,
  /** Tables on the lists of possible NX huge pages. */
  NX_LPAGE_SPLITS;

  /** The statistic that counts leafs of a level, 4K to 1G. */
  public static VmStat pages(PageLevel level) {
    return switch (level) {
      case LEVEL_4K -> PAGES_4K;
      case LEVEL_2M -> PAGES_2M;
      case LEVEL_1G -> PAGES_1G;
      default -> throw new IllegalArgumentException("no leafs at level " + level);
    };
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
