package dev.septum.lab;

import dev.septum.lab.bootlog.GuestMemoryMap;
import dev.septum.lab.report.BootReport;

/** Builds a guest on the emulated host, boots it, destroys it. */
@FunctionalInterface
public interface GuestBoot {

  /**
   * Boots the guest of a map once and reports what the host did.
   *
   * <p>A broken invariant is part of the report, not an exception.
   */
  BootReport boot(GuestMemoryMap map, BootOptions options, Progress progress);
}
