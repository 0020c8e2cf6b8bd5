package dev.septum.lab;

import dev.septum.kernel.Kernel;
import dev.septum.lab.backend.KnownBackends;
import dev.septum.lab.backend.OpWatch;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** Where backends are besides those that come with Septum, and how long one may take for an op. */
class BackendPath {

  private static final int MAX_TIMEOUT = 86_400;

  @Spec(Spec.Target.MIXEE)
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  @Option(
      names = "--backend-path",
      paramLabel = "DIR_OR_JAR",
      description =
          "Look for backends there as well: a jar, a directory of jars, or one of classes. Can be"
              + " given again.")
  private List<Path> paths = new ArrayList<>();

  @Option(
      names = "--op-timeout",
      paramLabel = "SECONDS",
      defaultValue = "10",
      description =
          "How long a backend of --backend-path may take for an op (default: ${DEFAULT-VALUE}).")
  private int opTimeout = 10;

  private @Nullable KnownBackends known;
  private @Nullable OpWatch watch;

  /** The backends that there are. */
  KnownBackends known() {
    KnownBackends loaded = known;
    if (loaded == null) {
      loaded = load();
      known = loaded;
    }
    return loaded;
  }

  private KnownBackends load() {
    OpWatch watching = watch;
    try {
      return watching == null ? KnownBackends.builtIn() : KnownBackends.with(paths, watching);
    } catch (IllegalArgumentException e) {
      throw usage(String.valueOf(e.getMessage()));
    }
  }

  /** The options as a command that repeats something needs them; each with a space before it. */
  final String pathArguments() {
    return paths.stream().map(path -> " --backend-path " + path).collect(Collectors.joining());
  }

  /**
   * Does what a command does. With backends of others that is on a thread of its own: if an op of
   * one hangs for good, it is left behind.
   */
  final Integer watching(Callable<Integer> work) throws Exception {
    requireSeconds("--op-timeout", opTimeout);
    if (paths.isEmpty()) {
      return work.call();
    }
    CompletableFuture<Integer> result = new CompletableFuture<>();
    try (OpWatch watching =
        new OpWatch(
            Duration.ofSeconds(opTimeout),
            spec.commandLine().getErr(),
            result::completeExceptionally)) {
      watch = watching;
      Kernel.host().spawn("septum", () -> complete(result, work));
      return result.get();
    } catch (ExecutionException e) {
      Throwable cause = e.getCause();
      if (cause instanceof Error error) {
        throw error;
      }
      throw cause instanceof Exception exception ? exception : e;
    }
  }

  private static void complete(CompletableFuture<Integer> result, Callable<Integer> work) {
    try {
      result.complete(work.call());
    } catch (Throwable t) {
      result.completeExceptionally(t);
    }
  }

  /** Refuses a timeout that makes no sense. */
  final void requireSeconds(String option, int seconds) {
    if (seconds < 1 || seconds > MAX_TIMEOUT) {
      throw usage("%s %d is not in [1, %d]".formatted(option, seconds, MAX_TIMEOUT));
    }
  }

  /** A mistake of the user's. */
  final ParameterException usage(String message) {
    return new ParameterException(spec.commandLine(), message);
  }
}
