package dev.septum.lab;

import dev.septum.lab.boot.EmulatedBoot;
import dev.septum.lab.conform.Replay;
import dev.septum.lab.conform.Replayer;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** The {@code septum} command. */
@Command(
    name = "septum",
    description = "An emulator of KVM's TDP MMU, the TDX module and Dynamic PAMT.",
    mixinStandardHelpOptions = true,
    versionProvider = Septum.Version.class,
    synopsisSubcommandLabel = "COMMAND")
public final class Septum implements Runnable {

  /** System property with which ./septum tells whether stderr is a terminal. */
  static final String STDERR_IS_TERMINAL = "septum.stderr.terminal";

  @Spec
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  private Septum() {}

  /** Runs the command and exits with its code. */
  public static void main(String[] args) {
    CommandLine command = commandLine(new EmulatedBoot(), new Replay());
    command.setOut(new PrintWriter(System.out, true, StandardCharsets.UTF_8));
    command.setErr(new PrintWriter(System.err, true, StandardCharsets.UTF_8));
    System.exit(run(command, args));
  }

  /** The command on a given emulator. */
  static CommandLine commandLine(GuestBoot guestBoot, Replayer replayer) {
    return commandLine(guestBoot, replayer, Stdin.ofProcess());
  }

  /** The command on a given emulator and stdin. */
  static CommandLine commandLine(GuestBoot guestBoot, Replayer replayer, Stdin stdin) {
    CommandErrors errors = new CommandErrors();
    return new CommandLine(new Septum())
        .addSubcommand(new BootCommand(guestBoot))
        .addSubcommand(new ConformCommand(replayer))
        .addSubcommand(new PamtCommand())
        .addSubcommand(new SeamcallCommand(stdin))
        .addSubcommand(new RunCommand())
        .addSubcommand(new ExploreCommand())
        .addSubcommand(new ReplayCommand())
        .addSubcommand(new SweepCommand())
        .addSubcommand(new FuzzCommand())
        .addSubcommand(new DefectsCommand())
        .addSubcommand(new BackendsCommand())
        .addSubcommand(new VerifyBackendCommand())
        .setCaseInsensitiveEnumValuesAllowed(true)
        .setParameterExceptionHandler(errors)
        .setExecutionExceptionHandler(errors);
  }

  /** Runs the command; a heap that is too small for the guest is one line as well. */
  static int run(CommandLine command, String... args) {
    try {
      return command.execute(args);
    } catch (OutOfMemoryError e) {
      command
          .getErr()
          .println(
              "septum: %d MiB of Java heap are too few; SEPTUM_JAVA_OPTS=-Xmx16g gives more"
                  .formatted(Runtime.getRuntime().maxMemory() >> 20));
      return ExitCode.USAGE;
    }
  }

  /** Without a subcommand there is nothing to do. */
  @Override
  public void run() {
    throw new CommandLine.ParameterException(
        spec.commandLine(),
        "a COMMAND is missing: " + String.join(", ", spec.subcommands().keySet()));
  }

  /** The version in the jar's manifest. */
  static final class Version implements IVersionProvider {
    @Override
    public String[] getVersion() {
      String version = Septum.class.getPackage().getImplementationVersion();
      return new String[] {"septum " + (version == null ? "(unpacked)" : version)};
    }
  }
}
