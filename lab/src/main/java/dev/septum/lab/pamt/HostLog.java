package dev.septum.lab.pamt;

import com.google.common.collect.ImmutableList;
import dev.septum.lab.bootlog.BootLogException;
import dev.septum.lab.bootlog.Boots;
import dev.septum.lab.bootlog.LogLine;
import dev.septum.lab.bootlog.LogText;
import dev.septum.lab.bootlog.TdxSigns;
import dev.septum.lab.pamt.HostFacts.Printed;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The log of one boot of a TDX host.
 *
 * @param file the log's name as the user gave it
 * @param notes what was left out or chosen
 */
record HostLog(String file, HostFacts facts, ImmutableList<String> notes) {

  /**
   * Reads the boot that tells how the module's initialization ended, else the first that shows TDX
   * memory.
   *
   * @throws BootLogException if the file is no text, is not the log of a TDX host, or a line
   *     contradicts itself or another
   */
  static HostLog read(Path file) throws BootLogException {
    ImmutableList<LogLine> lines = LogText.read(file);
    List<HostLog> hosts = new ArrayList<>();
    ImmutableList<ImmutableList<LogLine>> boots = Boots.split(lines);
    for (ImmutableList<LogLine> boot : boots) {
      HostFacts facts = HostFactReader.read(boot);
      if (facts.sign != null) {
        hosts.add(new HostLog(file.toString(), facts, notes(boot, boots.size())));
      }
    }
    requireHost(file, lines, hosts);
    return first(hosts, true)
        .or(() -> first(hosts, false))
        .orElseThrow(() -> withoutMemory(file, hosts.get(0).facts));
  }

  private static Optional<HostLog> first(List<HostLog> hosts, boolean withOutcome) {
    return hosts.stream()
        .filter(host -> host.facts.showMemory() && (!withOutcome || host.facts.hasOutcome()))
        .findFirst();
  }

  private static ImmutableList<String> notes(List<LogLine> boot, int boots) {
    return boots == 1
        ? ImmutableList.of()
        : ImmutableList.of(
            "the log has %d boots: the one from line %d on is used"
                .formatted(boots, boot.get(0).number()));
  }

  private static void requireHost(Path file, List<LogLine> lines, List<HostLog> hosts)
      throws BootLogException {
    if (!hosts.isEmpty()) {
      return;
    }
    Optional<LogLine> guest = TdxSigns.ofGuest(lines);
    if (guest.isPresent()) {
      throw guest.get().error("the log of a TDX guest, not of a host");
    }
    throw new BootLogException(
        file
            + ": no sign of a TDX host (looked for \"CMR: [\", \"allocated for PAMT\","
            + " \"private KeyID range\", \"TDX module\")");
  }

  private static BootLogException withoutMemory(Path file, HostFacts facts) {
    String lacking = "no CMR and no memory map in the log";
    Printed printed = facts.pamtKib;
    return printed == null
        ? new BootLogException(file + ": " + lacking)
        : printed
            .line()
            .error(
                "%s for these %d KB, the static PAMT of %d GiB,"
                    .formatted(lacking, printed.value(), PamtSize.gibOf(printed.value())));
  }
}
