package dev.septum.tdx.module;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** What was arranged to happen to one SEAMCALL. */
public final class Injected {

  /** Nothing. */
  static final Injected NONE = new Injected();

  private final Set<Integer> contended = new HashSet<>();
  private final List<Runnable> meanwhile = new ArrayList<>();
  private @Nullable Long status;
  private boolean interrupted;

  Injected() {}

  /** The call ends with this status before the leaf's code runs. */
  public void fail(long newStatus) {
    status = status == null ? newStatus : status;
  }

  /** The call finds the lock of this operand taken; {@link Injection#contend}. */
  public void contend(int operand) {
    contended.add(operand);
  }

  /** An event is pending all through the call. */
  public void interrupt() {
    interrupted = true;
  }

  void runMeanwhile(Runnable body) {
    meanwhile.add(body);
  }

  /** The status to end the call with before it does anything. */
  @Nullable Long status() {
    return status;
  }

  boolean interrupted() {
    return interrupted;
  }

  /** Whether the lock of {@code operand} is to be found taken; the next attempt is not. */
  boolean takeContention(int operand) {
    return !contended.isEmpty() && contended.remove(operand);
  }

  /** Runs what was to run while the call holds its locks. */
  void runMeanwhile() {
    meanwhile.forEach(Runnable::run);
  }
}
