package dev.septum.kernel.schedule;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.FaultInjector;
import dev.septum.kernel.GuestMode;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockChecker;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.Mutex;
import dev.septum.kernel.PointKind;
import dev.septum.kernel.Rcu;
import dev.septum.kernel.RwLock;
import dev.septum.kernel.SchedulingPoint;
import dev.septum.kernel.SharedRef;
import dev.septum.kernel.SharedWord;
import dev.septum.kernel.SpinLock;

/**
 * The scheduled runtime: one emulated thread runs at a time, and who goes next is chosen at each
 * scheduling point. It belongs to one run of a {@link Program}.
 */
public final class ScheduledKernel implements Kernel {

  private final ScheduledRun run;
  private final ScheduledRcu rcu;

  ScheduledKernel(ScheduledRun run) {
    this.run = run;
    this.rcu = new ScheduledRcu(run);
  }

  @Override
  public RwLock rwLock(LockClass lockClass) {
    return new ScheduledRwLock(run, lockClass);
  }

  @Override
  public SpinLock spinLock(LockClass lockClass) {
    return new ScheduledLock(run, lockClass);
  }

  @Override
  public Mutex mutex(LockClass lockClass) {
    return new ScheduledLock(run, lockClass);
  }

  @Override
  public Rcu rcu() {
    return rcu;
  }

  @Override
  public SharedWord word(long initial) {
    return new ScheduledWord(run, initial);
  }

  @Override
  public <T> SharedRef<T> ref(T initial) {
    return new ScheduledRef<>(run, initial);
  }

  @Override
  public EntryTable entryTable(long base, long stride) {
    return new ScheduledEntryTable(run, base, stride);
  }

  @Override
  public GuestMode guestMode() {
    return new ScheduledGuestMode(run);
  }

  @Override
  public KernelThread spawn(String name, Runnable body) {
    return run.spawn(name, false, body);
  }

  @Override
  public void condResched() {
    EmulatedThread caller = run.current();
    if (caller != null) {
      run.point(caller, 0, PointKind.YIELD);
    }
  }

  @Override
  public SchedulingPoint schedulingPoint(String object) {
    SharedObject shared = new Place(run, object);
    return kind -> run.point(shared, 0, run.seen(kind));
  }

  @Override
  public LockChecker locks() {
    return run.checker();
  }

  /** One of {@code alternatives}, as the schedule has it: each of them is explored. */
  public int choose(String what, int alternatives) {
    return run.chooseValue(what, alternatives);
  }

  /**
   * Whether something that may fail does so here, as the schedule has it; no more often in one run
   * than {@link Exploration#mostFailures} allows.
   */
  public boolean mayFail(String what) {
    return run.mayFail(what);
  }

  /** How often {@link #mayFail} said yes in this run so far. */
  public int failures() {
    return run.failures();
  }

  /**
   * Says what the run came to, in words that are the same for all runs which came to the same:
   * {@link ExplorationResult#outcomes} counts them. The last one said counts.
   */
  public void outcome(String text) {
    run.outcome(text);
  }

  /** Whether notes are kept: in {@link Exploration#show} only. */
  public boolean keepsNotes() {
    return run.trace().keepsNotes();
  }

  /**
   * What the calling thread reads from here to its next {@link #note} is for that note, and none of
   * it is a scheduling point: a run that is shown is the one that was found.
   */
  public void beginNote() {
    run.beginNote();
  }

  /** A note on what the calling thread does, between two of its steps. */
  public void note(String text) {
    run.note(text);
  }

  /** A rule by which every allocation may fail. */
  public FaultInjector.Rule anyMayFail() {
    return (place, call) -> run.mayFail(place);
  }

  /** Steps of this run so far, counted from its second thread on. */
  public int steps() {
    return run.trace().steps();
  }

  /** What a point is about that is made elsewhere. */
  private static final class Place extends SharedObject {

    private final String type;

    Place(ScheduledRun run, String type) {
      super(run);
      this.type = type;
    }

    @Override
    String type() {
      return type;
    }
  }
}
