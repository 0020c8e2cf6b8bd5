package dev.septum.lab.pamt;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The host logs that come with Septum, and hand-made ones. */
public final class HostLogs {

  /** CMRs of 2 GiB and 62 GiB. */
  static final String CMRS =
      "virt/tdx: CMR: [0x100000, 0x77800000)\nvirt/tdx: CMR: [0x100000000, 0x107a000000)\n";

  /** What those need: 4104 KiB for each GiB, and a page of 1G entries for each of two TDMRs. */
  static final long CMRS_KIB = 64 * 4104 + 2 * 4;

  private HostLogs() {}

  /** A log in lab/hosts. */
  public static Path real(String name) {
    return Path.of(System.getProperty("basedir", "."), "hosts", name);
  }

  /** A file with the given text. */
  static Path of(Path dir, String text) throws IOException {
    return Files.writeString(dir.resolve("host.dmesg"), text);
  }

  static String printed(long kib) {
    return "virt/tdx: %d KB allocated for PAMT\n".formatted(kib);
  }

  static String exhausted(String tdmr) {
    return "virt/tdx: initialization failed: TDMR %s: reserved areas exhausted.\n".formatted(tdmr);
  }
}
