package dev.septum.lab.backend;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.HangWatch;
import java.io.PrintWriter;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Keeps calls of foreign backends from hanging: one that does is reported and interrupted, and its
 * VM is bugged; one that goes on all the same ends the command.
 */
public final class OpWatch implements AutoCloseable {

  private static final Duration GRACE = Duration.ofSeconds(2);
  private static final int FRAMES = 12;

  private final HangWatch watch;
  private final long seconds;
  private final PrintWriter err;
  private final Consumer<BackendException> onLost;

  /** Ops that were reported: once each, however often a search runs into them. */
  private final Set<String> told = ConcurrentHashMap.newKeySet();

  /**
   * Watches from now on, and reports to {@code err}.
   *
   * @param onLost is told of a call that does not return although it was interrupted
   */
  public OpWatch(Duration patience, PrintWriter err, Consumer<BackendException> onLost) {
    this.seconds = patience.toSeconds();
    this.err = err;
    this.onLost = onLost;
    this.watch = HangWatch.start(patience, GRACE, new Reporter());
  }

  /** Nothing is watched any more. */
  @Override
  public void close() {
    watch.close();
  }

  /** Makes a call. */
  <T extends @Nullable Object> T call(BackendCall call, Supplier<T> body) {
    Result<T> result = new Result<>(body);
    watch.during(call, result);
    return result.get();
  }

  private static final class Result<T extends @Nullable Object> implements Runnable {
    private final Supplier<T> body;
    private @Nullable T value;

    Result(Supplier<T> body) {
      this.body = body;
    }

    @Override
    public void run() {
      value = body.get();
    }

    @SuppressWarnings("NullAway") // Null only if that is what the body returned.
    T get() {
      return value;
    }
  }

  private final class Reporter implements HangWatch.Listener {

    @Override
    public void hangs(Object what, String thread, ImmutableList<StackTraceElement> stack) {
      BackendCall call = (BackendCall) what;
      if (!told.add(call.backend() + " " + call.op())) {
        return;
      }
      StringBuilder report = new StringBuilder();
      report.append("septum: %s%n".formatted(late(call)));
      report.append("Thread %s is interrupted at%n".formatted(thread));
      stack.stream()
          .takeWhile(frame -> !frame.getClassName().startsWith(OpWatch.class.getName()))
          .limit(FRAMES)
          .forEach(frame -> report.append("  %s%n".formatted(text(frame))));
      err.print(report);
      err.flush();
    }

    /** As the splat has frames. */
    private static String text(StackTraceElement frame) {
      String type = frame.getClassName();
      return "%s.%s%s"
          .formatted(
              type.substring(type.lastIndexOf('.') + 1),
              frame.getMethodName(),
              frame.getLineNumber() < 0 ? "" : "+" + frame.getLineNumber());
    }

    @Override
    public void endsLate(Object what) {
      BackendCall call = (BackendCall) what;
      if (call.kvm() == null) {
        throw new BackendException(late(call));
      }
      call.kvm().bugOn(true, late(call));
    }

    @Override
    public void isLost(Object what) {
      onLost.accept(
          new BackendException(what + " does not return although its thread was interrupted"));
    }

    private String late(BackendCall call) {
      return "%s has not returned for %d s".formatted(call, seconds);
    }
  }
}
