package dev.septum.lab.bootlog;

import com.google.common.collect.ImmutableList;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The log of one boot of a guest: its lines and the facts in them. */
public final class BootLog {

  private final String file;
  private final List<LogLine> lines;
  private final LogFacts facts;
  private final Optional<Assumption> otherBoots;

  private BootLog(
      String file, List<LogLine> lines, LogFacts facts, Optional<Assumption> otherBoots) {
    this.file = file;
    this.lines = lines;
    this.facts = facts;
    this.otherBoots = otherBoots;
  }

  /** Reads a log and builds the guest's map as {@link MapOptions#DEFAULT} has it. */
  public static GuestMemoryMap readMap(Path file) throws BootLogException {
    return read(file).memoryMap(MapOptions.DEFAULT);
  }

  /**
   * Reads the facts of the first boot in a log that shows memory.
   *
   * @throws BootLogException if the file is no text, or a line contradicts itself or another
   */
  public static BootLog read(Path file) throws BootLogException {
    ImmutableList<LogLine> all = LogText.read(file);
    TdxSigns.refuseSev(all);
    ImmutableList<ImmutableList<LogLine>> boots = Boots.split(all);
    for (ImmutableList<LogLine> boot : boots) {
      LogFacts facts = FactReader.read(boot);
      if (!facts.showNoMemory()) {
        return new BootLog(file.toString(), boot, facts, othersThan(boot, boots));
      }
    }
    throw new BootLogException(
        file
            + ": no memory map in the log (looked for \"Early memory node ranges\", BIOS-e820"
            + " usable ranges, efi memory ranges, SRAT, zone ranges, last_pfn, accept_memory"
            + " calls)");
  }

  /**
   * The guest that the log tells of.
   *
   * @throws BootLogException if it is not a TDX guest, or the facts contradict each other
   */
  public GuestMemoryMap memoryMap(MapOptions options) throws BootLogException {
    List<Assumption> assumptions = new ArrayList<>();
    TdxEvidence evidence = TdxSigns.find(lines, file, options);
    if (!evidence.certain()) {
      assumptions.add(new Assumption("it is a TDX guest: \"" + evidence.text() + "\" is no proof"));
    }
    otherBoots.ifPresent(assumptions::add);
    for (LogLine line : facts.brokenOff) {
      assumptions.add(
          new Assumption("line %d breaks off: it is left out".formatted(line.number())));
    }
    ImmutableList<RamRange> ram = RamInference.infer(facts, options.assumeMemory(), assumptions);
    if (ram.isEmpty()) {
      throw new BootLogException(file + ": the log shows no RAM");
    }
    Optional<SwiotlbBuffer> swiotlb =
        SwiotlbInference.infer(facts, ram, options.assumeMemory(), assumptions);
    return new GuestMemoryMap(
        ram, swiotlb, ImmutableList.copyOf(assumptions), evidence, facts.vcpus, file);
  }

  private static Optional<Assumption> othersThan(
      ImmutableList<LogLine> boot, List<ImmutableList<LogLine>> boots) {
    return boots.size() == 1
        ? Optional.empty()
        : Optional.of(
            new Assumption(
                "the log has %d boots: the one from line %d on is used"
                    .formatted(boots.size(), boot.get(0).number())));
  }
}
