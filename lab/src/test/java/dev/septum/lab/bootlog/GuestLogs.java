package dev.septum.lab.bootlog;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The boot logs that come with Septum, and hand-made ones. */
public final class GuestLogs {

  /** What a TDX guest prints first. */
  public static final String TDX = "[    0.000000] tdx: Guest detected\n";

  private GuestLogs() {}

  /** A log in lab/guests. */
  public static Path real(String name) {
    return Path.of(System.getProperty("basedir", "."), "guests", name);
  }

  /** A file with the given text. */
  public static Path of(Path dir, String text) throws IOException {
    return Files.writeString(dir.resolve("guest.dmesg"), text);
  }

  /** A line of BIOS-e820, {@code end} included. */
  public static String e820(long start, long end, String type) {
    return "BIOS-e820: [mem 0x%016x-0x%016x] %s\n".formatted(start, end, type);
  }
}
