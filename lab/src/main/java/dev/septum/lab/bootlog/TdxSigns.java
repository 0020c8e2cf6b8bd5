package dev.septum.lab.bootlog;

import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/** Decides whether a log is that of a TDX guest. */
public final class TdxSigns {

  /** Only a TDX guest prints these. */
  private static final Pattern CERTAIN =
      Pattern.compile(
          "tdx: Guest (?:detected|is initialized)|TDX guest is initialized|TDX aware idle"
              + "|Encryption Features active: .*\\bTDX\\b|\\bIntel TDX\\b(?! module)"
              + "|[Cc]onfidential virtualization tdx");

  /** Any confidential guest may print these. */
  private static final Pattern AMBIGUOUS =
      Pattern.compile(
          "Memory [Ee]ncryption is active|accept_memory\\(|unaccepted: version"
              + "|SWIOTLB.*\\bforced?\\b|\\bswiotlb=(?:\\d+,)?force\\b|\\[Unaccepted\\b");

  /** Only an SEV or SNP guest, or its launch, prints these. */
  private static final Pattern SEV =
      Pattern.compile(
          "\\bkvm_sev_\\w+|\\bSEV-(?:SNP|ES)\\b|\\bAMD SEV\\b|\\bSEV: "
              + "|AMD Memory Encryption Features active|confidential virtualization sev");

  /** The host's side of TDX. */
  private static final Pattern HOST =
      Pattern.compile(
          "tdx: .*(?:BIOS enabled|CMR|TDMR|[Mm]odule init|SEAMCALL)|KBs? allocated for PAMT");

  private TdxSigns() {}

  /** The first line that only a TDX guest prints. */
  public static Optional<LogLine> ofGuest(List<LogLine> lines) {
    return first(lines, CERTAIN);
  }

  /** Refuses a log with a line of an SEV guest. */
  static void refuseSev(List<LogLine> lines) throws BootLogException {
    Optional<LogLine> sev = first(lines, SEV);
    if (sev.isPresent()) {
      throw sev.get().error("not (only) a TDX guest: a line of AMD SEV or SNP");
    }
  }

  /** Why the log is that of a TDX guest. */
  static TdxEvidence find(List<LogLine> lines, String file, MapOptions options)
      throws BootLogException {
    Optional<LogLine> certain = ofGuest(lines);
    if (certain.isPresent()) {
      return evidence(certain.get(), true);
    }
    Optional<LogLine> host = first(lines, HOST);
    if (host.isPresent() && !options.assumeTdx()) {
      throw host.get().error("the log of a TDX host, not of a guest");
    }
    Optional<LogLine> ambiguous = first(lines, AMBIGUOUS);
    if (ambiguous.isPresent()) {
      return evidence(ambiguous.get(), false);
    }
    if (options.assumeTdx()) {
      return new TdxEvidence("--assume-tdx", 0, false);
    }
    throw new BootLogException(
        file
            + ": no sign of a TDX guest (looked for \"tdx: Guest detected\", \"TDX aware idle\","
            + " \"Intel TDX\", \"Memory encryption is active\", accept_memory calls);"
            + " --assume-tdx boots it anyway");
  }

  private static TdxEvidence evidence(LogLine line, boolean certain) {
    return new TdxEvidence(line.text().strip(), line.number(), certain);
  }

  private static Optional<LogLine> first(List<LogLine> lines, Pattern sign) {
    return lines.stream().filter(line -> sign.matcher(line.text()).find()).findFirst();
  }
}
