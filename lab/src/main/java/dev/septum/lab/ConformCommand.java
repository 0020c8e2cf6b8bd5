package dev.septum.lab;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.KvmBackend;
import dev.septum.lab.conform.ConformReport;
import dev.septum.lab.conform.ConformResult;
import dev.septum.lab.conform.Conformance;
import dev.septum.lab.conform.RecordingException;
import dev.septum.lab.conform.Recordings;
import dev.septum.lab.conform.Replayer;
import dev.septum.mmu.DirtyLogBoundary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import picocli.CommandLine.TypeConversionException;

/**
 * {@code septum conform}: does on our MMU what recordings did to the real kernel, and compares.
 *
 * <p>Every recording is read before the first is replayed, so that bad input leaves nothing
 * half-done.
 */
@Command(
    name = "conform",
    description = "Replays recordings of the real kernel's TDP MMU and compares everything.",
    mixinStandardHelpOptions = true,
    versionProvider = Septum.Version.class,
    sortOptions = false,
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {
      "0:all recordings are equal",
      "1:a recording differs",
      "2:wrong usage or input; nothing was compared"
    })
final class ConformCommand implements Callable<Integer> {

  private static final int MAX_RACES = 1_000_000;

  private final Replayer replayer;

  @Spec
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  @Parameters(
      paramLabel = "DIR",
      arity = "1..*",
      description = "A recording, a .zip file of one, or a folder with recordings in it.")
  private List<Path> folders = new ArrayList<>();

  @Mixin private final BackendOptions backends = new BackendOptions();

  @Option(names = "--json", description = "Report as JSON.")
  private boolean json;

  @Option(
      names = "--write",
      paramLabel = "DIR",
      description =
          "Write what both sides did to DIR/<recording>/recorded.txt and septum.txt, for diff.")
  private @Nullable Path write;

  @Option(
      names = "--races",
      paramLabel = "N",
      defaultValue = "20",
      description = "How often a race is run on threads (default: ${DEFAULT-VALUE}).")
  private int races;

  @Option(
      names = "--boundary",
      paramLabel = "rounded-up|containing-page",
      defaultValue = "rounded-up",
      converter = BoundaryConverter.class,
      description =
          "How it is judged which huge pages the dirty bits of a word lie in; the second loses no "
              + "write, but is not what the kernel does (default: ${DEFAULT-VALUE}).")
  private DirtyLogBoundary boundary = DirtyLogBoundary.ROUNDED_UP;

  @Option(
      names = "--progress",
      negatable = true,
      description = "Show progress on stderr (default: if it is a terminal and it takes long).")
  private @Nullable Boolean progress;

  ConformCommand(Replayer replayer) {
    this.replayer = replayer;
  }

  @Override
  public Integer call() throws Exception {
    return backends.watching(this::conform);
  }

  private int conform() throws IOException {
    if (races < 0 || races > MAX_RACES) {
      throw usage("--races %d is not in [0, %d]".formatted(races, MAX_RACES));
    }
    KvmBackend backend = backends.chosenOr("none");
    ImmutableList<Recordings.Found> recordings = find();
    if (write != null) {
      requireFolder(write, recordings);
    }
    for (Recordings.Found recording : recordings) {
      recording.read();
    }
    ConformReport report = compare(recordings, backend);
    Stdout.print(spec, json ? report.json() : report.text());
    return report.isEqual() ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  private ImmutableList<Recordings.Found> find() throws RecordingException {
    ImmutableList.Builder<Recordings.Found> found = ImmutableList.builder();
    for (Path folder : folders) {
      found.addAll(Recordings.find(folder));
    }
    return found.build();
  }

  private void requireFolder(Path folder, List<Recordings.Found> recordings) throws IOException {
    Set<String> names = new HashSet<>();
    for (Recordings.Found recording : recordings) {
      if (!names.add(recording.name())) {
        throw usage("--write: two recordings are called %s".formatted(recording.name()));
      }
    }
    if (Files.exists(folder) && !Files.isDirectory(folder)) {
      throw usage("--write %s: is no folder".formatted(folder));
    }
    Files.createDirectories(folder);
  }

  /** Reads each recording again, since together they may not fit into memory. */
  private ConformReport compare(List<Recordings.Found> recordings, KvmBackend backend)
      throws IOException {
    return ProgressLine.whileShowing(
        spec, progress, watcher -> compare(recordings, backend, watcher));
  }

  private ConformReport compare(
      List<Recordings.Found> recordings, KvmBackend backend, Progress watcher) throws IOException {
    Conformance conformance = new Conformance(replayer.judging(boundary).on(backend), races, write);
    List<ConformResult> results = new ArrayList<>();
    for (Recordings.Found recording : recordings) {
      results.add(conformance.check(recording.read(), watcher));
    }
    return new ConformReport(results);
  }

  private ParameterException usage(String message) {
    return new ParameterException(spec.commandLine(), message);
  }

  /** Reads the name of a boundary. */
  static final class BoundaryConverter implements ITypeConverter<DirtyLogBoundary> {
    @Override
    public DirtyLogBoundary convert(String value) {
      return switch (value) {
        case "rounded-up" -> DirtyLogBoundary.ROUNDED_UP;
        case "containing-page" -> DirtyLogBoundary.CONTAINING_PAGE;
        default ->
            throw new TypeConversionException(
                "'%s' is neither rounded-up nor containing-page".formatted(value));
      };
    }
  }
}
