package dev.septum.lab;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.KvmBackend;
import dev.septum.lab.backend.KnownBackends;
import dev.septum.lab.report.JsonReport;
import java.io.IOException;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code septum backends}: the backends that there are. */
@Command(
    name = "backends",
    description = "Lists the backends: what each one is, what it can do, where it came from.",
    mixinStandardHelpOptions = true,
    versionProvider = Septum.Version.class,
    sortOptions = false,
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {"0:they are listed", "2:wrong usage, or a backend that cannot be loaded"})
final class BackendsCommand implements Callable<Integer> {

  /**
   * A backend.
   *
   * @param origin the jar or directory that it came from, or {@code built in}
   */
  record Row(String name, String description, ImmutableList<String> capabilities, String origin) {}

  @Spec
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  @Option(names = "--json", description = "Report as JSON.")
  private boolean json;

  @Mixin private final BackendPath path = new BackendPath();

  @Override
  public Integer call() throws Exception {
    return path.watching(this::list);
  }

  private int list() throws IOException {
    KnownBackends known = path.known();
    List<Row> rows = known.names().stream().map(name -> row(known, name)).toList();
    Stdout.print(
        spec,
        json
            ? JsonReport.of(rows)
            : rows.stream().map(BackendsCommand::text).collect(Collectors.joining("\n")));
    return ExitCode.OK;
  }

  private static Row row(KnownBackends known, String name) {
    KvmBackend backend = known.named(name);
    return new Row(
        name,
        backend.description().replaceAll("\\s+", " "),
        CapabilityNames.of(backend),
        known.origin(name));
  }

  private static String text(Row row) {
    return "%s: %s%n  can   %s%n  from  %s%n"
        .formatted(
            row.name,
            row.description,
            row.capabilities.isEmpty() ? "-" : String.join(", ", row.capabilities),
            row.origin);
  }
}
