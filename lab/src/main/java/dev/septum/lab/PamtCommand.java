package dev.septum.lab;

import dev.septum.lab.bootlog.BootLogException;
import dev.septum.lab.pamt.PamtAccount;
import dev.septum.lab.pamt.PamtReport;
import dev.septum.lab.pamt.PamtText;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code septum pamt}: the PAMT of hosts, computed from their logs and compared with them. */
@Command(
    name = "pamt",
    description = "Computes the PAMT of a TDX host from its boot log, and compares.",
    mixinStandardHelpOptions = true,
    versionProvider = Septum.Version.class,
    sortOptions = false,
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {
      "0:what the kernel printed is what was computed, or it printed nothing",
      "1:they differ",
      "2:wrong usage, a log that cannot be read, or not that of a TDX host"
    })
final class PamtCommand implements Callable<Integer> {

  @Spec
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  @Parameters(
      paramLabel = "LOG",
      arity = "1..*",
      description = "Boot log of a TDX host: dmesg, journal or serial console.")
  private List<Path> logs = new ArrayList<>();

  @Option(
      names = "--json",
      description = "Report as JSON: an object for one LOG, an array for several.")
  private boolean json;

  @Override
  public Integer call() throws BootLogException, IOException {
    List<PamtReport> reports = new ArrayList<>();
    for (Path log : logs) {
      reports.add(PamtAccount.of(log));
    }
    Stdout.print(spec, json, reports, PamtText::of);
    return reports.stream().allMatch(r -> r.outcome().agrees()) ? ExitCode.OK : ExitCode.SOFTWARE;
  }
}
