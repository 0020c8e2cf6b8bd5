package dev.septum.kernel;

import com.google.common.collect.ImmutableList;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Watches work that others wrote: what does not end is told, interrupted, and given up if that does
 * not help. A wait for a lock of the kernel is somebody else's hang first, and is told later.
 */
public final class HangWatch implements AutoCloseable {

  /** Who is told. */
  public interface Listener {

    /** The work takes too long; it is interrupted next. Called by the watch. */
    void hangs(Object what, String thread, ImmutableList<StackTraceElement> stack);

    /** It has ended after all. Called by the work's own thread. */
    void endsLate(Object what);

    /** It goes on although it was interrupted. Called by the watch. */
    void isLost(Object what);
  }

  private static final long MAX_NAP_MS = 250;

  /** Everything but the end is the watch's to change. */
  private static final class Work {
    final Object what;
    final Thread thread = Thread.currentThread();
    final long begunNs = System.nanoTime();
    boolean ended;
    boolean late;
    boolean interrupted;
    boolean lost;

    Work(Object what) {
      this.what = what;
    }

    /** Ends the work; an interrupt that it got from the watch ends with it. */
    synchronized boolean end() {
      ended = true;
      if (interrupted) {
        Thread.interrupted();
      }
      return late;
    }

    synchronized boolean becomesLate() {
      late = !ended;
      return late;
    }

    synchronized void interrupt() {
      if (!ended) {
        interrupted = true;
        thread.interrupt();
      }
    }

    synchronized boolean becomesLost() {
      lost = !ended;
      return lost;
    }
  }

  private final long patienceNs;
  private final long graceNs;
  private final Listener listener;
  private final Set<Work> running = ConcurrentHashMap.newKeySet();
  private final Thread thread = new Thread(this::watch, "hang watch");

  private HangWatch(Duration patience, Duration grace, Listener listener) {
    this.patienceNs = patience.toNanos();
    this.graceNs = grace.toNanos();
    this.listener = listener;
  }

  /**
   * Begins to watch.
   *
   * @param patience how long work may take
   * @param grace how long it may take to end when it is interrupted
   */
  public static HangWatch start(Duration patience, Duration grace, Listener listener) {
    HangWatch watch = new HangWatch(patience, grace, listener);
    watch.thread.setDaemon(true);
    watch.thread.start();
    return watch;
  }

  /** Nothing is told any more. */
  @Override
  public void close() {
    thread.interrupt();
  }

  /** Does work under watch; {@code what} is how the listener knows it. */
  public void during(Object what, Runnable body) {
    Work work = new Work(what);
    running.add(work);
    try {
      body.run();
    } finally {
      running.remove(work);
      if (work.end()) {
        listener.endsLate(what);
      }
    }
  }

  private void watch() {
    long napMs = Math.max(1, Math.min(MAX_NAP_MS, Math.min(patienceNs, graceNs) / 4_000_000));
    try {
      while (true) {
        Thread.sleep(napMs);
        running.forEach(this::look);
      }
    } catch (InterruptedException e) {
      // Whoever interrupts the watch wants it to end.
      Thread.currentThread().interrupt();
    }
  }

  private void look(Work work) {
    long ageNs = System.nanoTime() - work.begunNs;
    if (work.lost || ageNs < patienceNs) {
      return;
    }
    if (work.late) {
      if (ageNs > patienceNs + graceNs && work.becomesLost()) {
        listener.isLost(work.what);
      }
      return;
    }
    List<StackTraceElement> stack = List.of(work.thread.getStackTrace());
    if (waitsForTheKernel(stack) && ageNs < 2 * patienceNs) {
      return;
    }
    if (work.becomesLate()) {
      listener.hangs(work.what, work.thread.getName(), ImmutableList.copyOf(stack));
      work.interrupt();
    }
  }

  private static boolean waitsForTheKernel(List<StackTraceElement> stack) {
    return stack.stream()
        .map(StackTraceElement::getClassName)
        .filter(name -> !name.startsWith("java.") && !name.startsWith("jdk."))
        .findFirst()
        .map(name -> name.startsWith(HangWatch.class.getPackageName() + "."))
        .orElse(false);
  }
}
