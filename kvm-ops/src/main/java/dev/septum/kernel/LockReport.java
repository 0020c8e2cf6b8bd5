package dev.septum.kernel;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** A broken rule on locks as the kernel's lockdep prints it. */
final class LockReport {

  private static final String UNKNOWN = "  (stacks were not recorded)";

  /** One lock of the report: its name, and where it was taken if that is known. */
  record Entry(String name, @Nullable LockStack stack) {
    @Override
    public String toString() {
      LockStack at = stack;
      return " (" + name + "), at:\n" + (at == null ? UNKNOWN : at.toString());
    }
  }

  private LockReport() {}

  /**
   * An order inversion.
   *
   * @param existing where the right order was seen for the first time; null if nowhere yet
   */
  static String inversion(
      Entry wanted, Entry holding, @Nullable LockStack existing, List<Entry> held) {
    String chain =
        existing == null
            ? "the order is that of the lock classes; nobody has taken the locks in it yet."
            : """
            the existing dependency chain (in reverse order) is:
            -> #1 (%s) after (%s), first seen at:
            %s
            -> #0 (%s), now"""
                .formatted(holding.name(), wanted.name(), existing, wanted.name());
    String body =
        """
        %s is trying to acquire lock:
        %s
        but task is already holding lock:
        %s
        which lock already depends on the new lock.
        %s
         Possible unsafe locking scenario:
               CPU0                    CPU1
               ----                    ----
          lock(%s);
                                       lock(%s);
                                       lock(%s);
          lock(%s);
         *** DEADLOCK ***"""
            .formatted(
                task(),
                wanted,
                holding,
                chain,
                holding.name(),
                wanted.name(),
                holding.name(),
                wanted.name());
    return framed("WARNING: possible circular locking dependency detected", body, held);
  }

  /** The same class is taken twice. */
  static String recursion(Entry wanted, Entry holding, List<Entry> held) {
    return framed(
        "WARNING: possible recursive locking detected",
        "%s is trying to acquire lock:\n%s\nbut task is already holding lock:\n%s"
            .formatted(task(), wanted, holding),
        held);
  }

  static String sleeping(String what, List<Entry> held) {
    return framed(
        "BUG: sleeping function called from invalid context",
        "%s in %s, at:\n%s".formatted(what, task(), LockStack.here()),
        held);
  }

  static String unbalanced(String name, List<Entry> held) {
    return framed(
        "WARNING: bad unlock balance detected!",
        "%s is trying to release lock (%s) at:\n%s\nbut there are no more locks to release!"
            .formatted(task(), name, LockStack.here()),
        held);
  }

  static String heldAtExit(String where, List<Entry> held) {
    return framed(
        "WARNING: lock held when returning to user space!",
        "%s is leaving the kernel with locks still held, at %s".formatted(task(), where),
        held);
  }

  /** A lock is needed that is not held. */
  static String notHeld(String name, String how, List<Entry> held) {
    return framed(
        "WARNING: lockdep_assert_held(" + name + ")",
        "%s does not hold lock (%s) %s, at:\n%s".formatted(task(), name, how, LockStack.here()),
        held);
  }

  /** Something is done inside or outside of RCU that must not be. */
  static String rcu(String what, List<Entry> held) {
    return framed(
        "WARNING: suspicious RCU usage",
        "%s %s, at:\n%s".formatted(task(), what, LockStack.here()),
        held);
  }

  private static String task() {
    return Thread.currentThread().getName();
  }

  private static String framed(String title, String body, List<Entry> held) {
    StringBuilder text = new StringBuilder();
    String line = "=".repeat(title.length());
    text.append(line).append('\n').append(title).append('\n').append("-".repeat(title.length()));
    text.append('\n').append(body).append('\n');
    if (held.isEmpty()) {
      return text.append("no locks held by ").append(task()).append(".").toString();
    }
    text.append(held.size() == 1 ? "1 lock" : held.size() + " locks");
    text.append(" held by ").append(task()).append(":");
    for (int i = 0; i < held.size(); i++) {
      text.append("\n #").append(i).append(":").append(held.get(i));
    }
    return text.toString();
  }
}
