package dev.septum.lab;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.Placement;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.TraceSink;
import dev.septum.lab.boot.GuestLayout;
import dev.septum.lab.bootlog.BootLog;
import dev.septum.lab.bootlog.BootLogException;
import dev.septum.lab.bootlog.GuestMemoryMap;
import dev.septum.lab.bootlog.MapOptions;
import dev.septum.lab.bootlog.Size2M;
import dev.septum.lab.report.BootReport;
import dev.septum.lab.report.FtraceFile;
import dev.septum.lab.report.TextReport;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
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
 * {@code septum boot}: builds the guests of boot logs and boots them.
 *
 * <p>Every log is read before the first guest boots, so that bad input leaves nothing half-done.
 */
@Command(
    name = "boot",
    description = "Boots the TDX guest of a boot log and reports what the host did.",
    mixinStandardHelpOptions = true,
    versionProvider = Septum.Version.class,
    sortOptions = false,
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {
      "0:all held: every page is back, no invariant was violated",
      "1:something was found",
      "2:wrong usage or input; nothing was booted"
    })
final class BootCommand implements Callable<Integer> {

  private static final int MAX_VCPUS = 4096;
  private static final long MAX_GUEST_BYTES = 16L << 40;

  private final GuestBoot guestBoot;

  @Spec
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  @Parameters(
      paramLabel = "LOG",
      arity = "1..*",
      description = "Boot log of a TDX guest: dmesg, journal or serial console.")
  private List<Path> logs = new ArrayList<>();

  @Option(
      names = "--json",
      description = "Report as JSON: an object for one LOG, an array for several.")
  private boolean json;

  @Option(
      names = "--trace",
      paramLabel = "FILE",
      description = "Write the trace events of the boot to FILE as ftrace text.")
  private @Nullable Path trace;

  @Option(
      names = "--map-gpa-chunk",
      paramLabel = "2M|whole",
      defaultValue = "2M",
      converter = ChunkConverter.class,
      description = "What KVM hands to user space of one MapGPA (default: ${DEFAULT-VALUE}).")
  private MapGpaChunk mapGpaChunk = MapGpaChunk.CHUNK_2M;

  @Mixin private final BackendOptions backends = new BackendOptions();

  @Option(names = "--no-dpamt", description = "A host without Dynamic PAMT.")
  private boolean noDynamicPamt;

  @Option(
      names = "--touch-first",
      description = "The guest touches each page before it accepts it.")
  private boolean touchFirst;

  @Option(
      names = "--vcpus",
      paramLabel = "N",
      description = "vCPUs of the TD (default: the log's number, else 1).")
  private @Nullable Integer vcpus;

  @Option(
      names = "--placement",
      paramLabel = "sequential|scattered|seeded",
      defaultValue = "sequential",
      description = "Where the host's single pages come from (default: ${DEFAULT-VALUE}).")
  private Placement placement = Placement.SEQUENTIAL;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "1",
      description = "Seed of --placement seeded (default: ${DEFAULT-VALUE}).")
  private long seed;

  @Option(
      names = "--host-memory",
      paramLabel = "SIZE",
      converter = MemorySize.Converter.class,
      description = "Memory of the host, such as 64G (default: the guest's and head room).")
  private @Nullable MemorySize hostMemory;

  @Option(
      names = "--assume-tdx",
      description = "Take the log for that of a TDX guest even if nothing in it says so.")
  private boolean assumeTdx;

  @Option(
      names = "--no-assumed-memory",
      description = "Leave out RAM that must exist but that the log does not show.")
  private boolean noAssumedMemory;

  @Option(
      names = "--progress",
      negatable = true,
      description = "Show progress on stderr (default: if it is a terminal and it takes long).")
  private @Nullable Boolean progress;

  BootCommand(GuestBoot guestBoot) {
    this.guestBoot = guestBoot;
  }

  @Override
  public Integer call() throws Exception {
    return backends.watching(this::bootAll);
  }

  private int bootAll() throws BootLogException, IOException {
    if (trace != null && logs.size() > 1) {
      throw usage("--trace takes one LOG, not %d".formatted(logs.size()));
    }
    if (vcpus != null && (vcpus < 1 || vcpus > MAX_VCPUS)) {
      throw usage("--vcpus %d is not in [1, %d]".formatted(vcpus, MAX_VCPUS));
    }
    KvmBackend backend = backends.withPrivateMemoryOr("tdx");
    ImmutableList<GuestMemoryMap> guests = readLogs();
    List<BootReport> reports = new ArrayList<>();
    for (GuestMemoryMap guest : guests) {
      reports.add(
          trace == null ? boot(guest, backend, TraceSink.OFF) : bootTraced(guest, backend, trace));
    }
    Stdout.print(spec, json, reports, TextReport::of);
    return reports.stream().allMatch(r -> r.outcome().held()) ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  private ImmutableList<GuestMemoryMap> readLogs() throws BootLogException {
    MapOptions options = new MapOptions(assumeTdx, !noAssumedMemory);
    ImmutableList.Builder<GuestMemoryMap> guests = ImmutableList.builder();
    for (Path log : logs) {
      GuestMemoryMap guest = BootLog.read(log).memoryMap(options);
      requireRoom(guest);
      guests.add(guest);
    }
    return guests.build();
  }

  private void requireRoom(GuestMemoryMap guest) {
    String needs = "%s has %s of RAM".formatted(guest.log(), MemorySize.text(guest.ramBytes()));
    if (guest.ramBytes() > MAX_GUEST_BYTES) {
      throw usage(
          "%s, more than the %s that can be booted"
              .formatted(needs, MemorySize.text(MAX_GUEST_BYTES)));
    }
    long end = guest.ram().get(guest.ram().size() - 1).endGpa();
    if (end > GuestLayout.MAX_RAM_END) {
      throw usage(
          "%s has RAM up to 0x%x, which a TD with 48-bit GPAs cannot have private"
              .formatted(guest.log(), end));
    }
    if (hostMemory != null && hostMemory.bytes() < guest.ramBytes()) {
      throw usage(
          "%s, more than --host-memory %s".formatted(needs, MemorySize.text(hostMemory.bytes())));
    }
  }

  private BootReport bootTraced(GuestMemoryMap guest, KvmBackend backend, Path file)
      throws IOException {
    try (FtraceFile sink = FtraceFile.create(file)) {
      BootReport report = boot(guest, backend, sink);
      sink.commit();
      return report;
    }
  }

  private BootReport boot(GuestMemoryMap guest, KvmBackend backend, TraceSink sink) {
    BootOptions options =
        new BootOptions(
            backend,
            vcpus == null ? guest.vcpus().orElse(1) : vcpus,
            mapGpaChunk,
            !noDynamicPamt,
            touchFirst,
            placement,
            seed,
            hostMemory == null
                ? OptionalLong.empty()
                : OptionalLong.of(Size2M.roundUp(hostMemory.bytes())),
            sink);
    return ProgressLine.whileShowing(
        spec, progress, watcher -> guestBoot.boot(guest, options, watcher));
  }

  private ParameterException usage(String message) {
    return new ParameterException(spec.commandLine(), message);
  }

  /** Reads {@code --map-gpa-chunk}. */
  static final class ChunkConverter implements ITypeConverter<MapGpaChunk> {
    @Override
    public MapGpaChunk convert(String value) {
      for (MapGpaChunk chunk : MapGpaChunk.values()) {
        if (chunk.toString().equalsIgnoreCase(value)) {
          return chunk;
        }
      }
      throw new TypeConversionException("expected 2M or whole but was '%s'".formatted(value));
    }
  }
}
