package dev.septum.lab;

import dev.septum.lab.defects.Catalogue;
import dev.septum.lab.defects.Defect;
import dev.septum.lab.defects.DefectRuns;
import dev.septum.lab.defects.DefectText;
import dev.septum.lab.report.JsonReport;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code septum defects}: lists the known defects of the posted series, and shows them. */
@Command(
    name = "defects",
    description = "Lists the known defects of the posted series.",
    mixinStandardHelpOptions = true,
    versionProvider = Septum.Version.class,
    sortOptions = false,
    subcommands = DefectsCommand.Run.class)
final class DefectsCommand implements Callable<Integer> {

  @Spec
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  @Option(names = "--json", description = "The catalogue as a JSON array.")
  private boolean json;

  @Option(names = "--markdown", description = "The catalogue as docs/defects.md has it.")
  private boolean markdown;

  @Override
  public Integer call() throws IOException {
    if (json && markdown) {
      throw new ParameterException(spec.commandLine(), "--json and --markdown exclude each other");
    }
    if (json) {
      Stdout.print(spec, JsonReport.of(Catalogue.ALL));
    } else {
      Stdout.print(
          spec, markdown ? DefectText.markdown(Catalogue.ALL) : DefectText.table(Catalogue.ALL));
    }
    return ExitCode.OK;
  }

  /** {@code septum defects run}: shows defects on the posted design, and their absence. */
  @Command(
      name = "run",
      description = "Shows defects: the same steps on tdx-v3 and on tdx.",
      mixinStandardHelpOptions = true,
      versionProvider = Septum.Version.class,
      sortOptions = false,
      exitCodeListHeading = "%nExit codes:%n",
      exitCodeList = {
        "0:every defect shows on tdx-v3 and not on tdx",
        "1:one does not",
        "2:wrong usage; nothing was run"
      })
  static final class Run implements Callable<Integer> {

    @Spec
    @SuppressWarnings("NullAway.Init")
    private CommandSpec spec;

    @Parameters(paramLabel = "ID", arity = "1..*", description = "Ids of defects, or all.")
    private List<String> ids = new ArrayList<>();

    @Option(names = "--json", description = "Report as a JSON array.")
    private boolean json;

    @Override
    public Integer call() throws IOException {
      DefectRuns runs = DefectRuns.of(chosen());
      Stdout.print(spec, json ? JsonReport.of(runs.records()) : runs.text());
      return runs.areAsExpected() ? ExitCode.OK : ExitCode.SOFTWARE;
    }

    private List<Defect> chosen() {
      try {
        return Catalogue.shown(ids);
      } catch (IllegalArgumentException e) {
        throw new ParameterException(spec.commandLine(), String.valueOf(e.getMessage()), e);
      }
    }
  }
}
