package dev.septum.kernel.schedule;

import dev.septum.kernel.PointKind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Every schedule, depth first, and each but once.
 *
 * <p>With {@link Reduction#PARTIAL_ORDER}, one of each class of schedules that differ only in the
 * order of steps that do not conflict: where a step races with an earlier one, the other order is
 * put on the list of the earlier one's choices (source sets, after Abdulla, Aronsis, Jonsson and
 * Sagonas, "Optimal dynamic partial order reduction", 2014), and a thread whose next step was
 * explored sleeps until a step that conflicts with it.
 */
final class DepthFirst implements Strategy {

  /** Which schedules are left out. */
  enum Reduction {
    NONE,
    PARTIAL_ORDER
  }

  /** A place where something was chosen: the thread of a step, or a value. */
  private static final class Node {
    boolean isValue;
    int alternatives;
    int chosen;

    /** Threads, as bits: that could go; that are to be tried; that were; that need not be. */
    long enabled;

    long backtrack;
    long done;
    long sleep;

    /** The step: what it was, how many of its thread's steps came before, and all that did. */
    PointKind kind = PointKind.LOCAL;

    int time;
    int[] clock = VectorClock.ZERO;

    /** The same choice, with nothing known of what comes of it. */
    Node copy() {
      Node copy = new Node();
      copy.isValue = isValue;
      copy.alternatives = alternatives;
      copy.chosen = chosen;
      copy.enabled = enabled;
      copy.backtrack = backtrack;
      copy.done = done;
      copy.sleep = sleep;
      return copy;
    }
  }

  private final Reduction reduction;
  private final int mostPreemptions;
  private final List<Node> path = new ArrayList<>();

  /** How many nodes the search begins with, and leaves as they are. */
  private final int floor;

  /** Whether the search ends where there is more than one way to go on. */
  private final boolean scouts;

  /** In a scout, whether it came to such a place, or to one where all threads sleep. */
  private boolean forked;

  private boolean asleep;
  private long states;
  private int[] races = new int[16];

  /** How many nodes of the path are as in the schedule before, but for the last one's choice. */
  private int fixed;

  private int depth;
  private int preemptions;
  private long nextSleep;
  private boolean begun;

  DepthFirst(Reduction reduction, int mostPreemptions) {
    this(reduction, mostPreemptions, List.of(), false);
  }

  private DepthFirst(
      Reduction reduction, int mostPreemptions, List<Node> beginning, boolean scouts) {
    this.reduction = reduction;
    this.mostPreemptions = mostPreemptions;
    this.scouts = scouts;
    beginning.forEach(node -> path.add(node.copy()));
    floor = path.size();
  }

  /** One run with the same beginning as far as there is no choice; {@link #split} comes next. */
  DepthFirst scout() {
    return new DepthFirst(reduction, mostPreemptions, path, true);
  }

  /**
   * Searches that together are this scout's: one for each way to go on from where it ended. Between
   * them no step's order is left open, so that none has to know of the others: what one of them
   * would put on the list of a choice that they share is among the others already, or sleeps.
   */
  List<DepthFirst> split() {
    if (asleep) {
      return List.of();
    }
    List<DepthFirst> parts = new ArrayList<>();
    if (!forked) {
      parts.add(new DepthFirst(reduction, mostPreemptions, path.subList(0, floor), false));
      return parts;
    }
    Node fork = path.get(path.size() - 1);
    if (fork.isValue) {
      for (int value = 0; value < fork.alternatives; value++) {
        fork.chosen = value;
        parts.add(new DepthFirst(reduction, mostPreemptions, path, false));
      }
      return parts;
    }
    for (long left = alternatives(fork); left != 0; left &= left - 1) {
      fork.chosen = Long.numberOfTrailingZeros(left);
      parts.add(new DepthFirst(reduction, mostPreemptions, path, false));
      fork.done |= 1L << fork.chosen;
    }
    return parts;
  }

  /** Whether the scout came to a place from where there is more than one way to go on. */
  boolean isForked() {
    return forked;
  }

  /** The threads that all parts of a search begin with, from a choice on. */
  private long alternatives(Node node) {
    return reduction == Reduction.NONE ? node.backtrack : node.enabled & ~node.sleep;
  }

  @Override
  public long states() {
    return states;
  }

  @Override
  public boolean ordersSteps() {
    return reduction == Reduction.PARTIAL_ORDER;
  }

  @Override
  public boolean next() {
    if (begun) {
      while (path.size() > floor && !advance(path.get(path.size() - 1))) {
        path.remove(path.size() - 1);
      }
      if (path.size() == floor) {
        return false;
      }
    }
    begun = true;
    fixed = path.size();
    depth = 0;
    preemptions = 0;
    nextSleep = 0;
    return true;
  }

  private static boolean advance(Node node) {
    if (node.isValue) {
      node.chosen++;
      return node.chosen < node.alternatives;
    }
    node.done |= 1L << node.chosen;
    long left = node.backtrack & ~node.done & ~node.sleep;
    node.chosen = Long.numberOfTrailingZeros(left);
    return left != 0;
  }

  @Override
  public int chooseThread(ScheduledRun run, long enabled, int last) {
    if (depth == fixed) {
      if (!addNode(enabled, last)) {
        return PRUNE;
      }
    }
    Node node = path.get(depth);
    if (depth < fixed && (node.isValue || node.enabled != enabled)) {
      throw unlikeBefore(run, node);
    }
    depth++;
    fixed = Math.max(fixed, depth);
    preemptions += isPreemption(node.chosen, enabled, last) ? 1 : 0;
    return node.chosen;
  }

  private boolean addNode(long enabled, int last) {
    if (forked) {
      return false;
    }
    Node node = new Node();
    node.enabled = enabled;
    node.sleep = nextSleep;
    long awake = enabled & ~node.sleep;
    asleep = awake == 0;
    if (asleep) {
      return false;
    }
    node.chosen = (awake & (1L << last)) != 0 ? last : Long.numberOfTrailingZeros(awake);
    if (reduction == Reduction.PARTIAL_ORDER) {
      node.backtrack = 1L << node.chosen;
    } else {
      node.backtrack =
          preemptions < mostPreemptions || (enabled & (1L << last)) == 0 ? enabled : 1L << last;
    }
    path.add(node);
    states++;
    forked = scouts && Long.bitCount(alternatives(node)) > 1;
    return !forked;
  }

  private static boolean isPreemption(int chosen, long enabled, int last) {
    return chosen != last && (enabled & (1L << last)) != 0;
  }

  @Override
  public int chooseValue(ScheduledRun run, int alternatives) {
    if (depth == path.size()) {
      Node node = new Node();
      node.isValue = true;
      node.alternatives = alternatives;
      if (forked) {
        return 0;
      }
      path.add(node);
      states++;
      forked = scouts;
    }
    Node node = path.get(depth);
    if (!node.isValue || node.alternatives != alternatives) {
      throw unlikeBefore(run, node);
    }
    depth++;
    fixed = Math.max(fixed, depth);
    return node.chosen;
  }

  private Abort unlikeBefore(ScheduledRun run, Node node) {
    return run.fail(
        Finding.divergence(
            "the program did something else than before under the same schedule, at choice %d:"
                    .formatted(depth)
                + " %s before, %s now; it must depend on nothing but the schedule"
                    .formatted(
                        node.isValue ? "a value" : "threads " + Long.toBinaryString(node.enabled),
                        run.trace().schedule())));
  }

  @Override
  public void stepping(ScheduledRun run, EmulatedThread thread) {
    if (reduction == Reduction.NONE) {
      return;
    }
    int at = depth - 1;
    Node node = path.get(at);
    PointKind kind = thread.kind;
    SharedObject object = thread.object;
    int[] clock = Arrays.copyOf(thread.clock, run.threads().size());
    int raceCount = 0;
    if (kind.hasConflicts()) {
      for (SharedObject.History history : object.historiesMetAt(thread.part)) {
        raceCount = findRaces(history, kind, clock, raceCount);
      }
      object.history(thread.part).add(at);
    }
    VectorClock.joinInto(clock, object.releasesBefore(kind));
    node.kind = kind;
    node.time = VectorClock.of(thread.clock, thread.index) + 1;
    clock[thread.index] = node.time;
    node.clock = clock;
    thread.clock = clock;
    for (int i = 0; i < raceCount; i++) {
      reverse(races[i], at);
    }
    nextSleep = stillAsleep(run, node, thread);
  }

  /** Adds the steps of a history that race with one of this kind, and orders it behind them. */
  private int findRaces(
      SharedObject.History history, PointKind kind, int[] clock, int alreadyFound) {
    int found = alreadyFound;
    for (int i = history.size() - 1; i >= 0; i--) {
      Node earlier = path.get(history.get(i));
      if (!earlier.kind.conflictsWith(kind)) {
        continue;
      }
      if (clock[earlier.chosen] < earlier.time) {
        if (found == races.length) {
          races = Arrays.copyOf(races, 2 * found);
        }
        races[found++] = history.get(i);
        VectorClock.joinInto(clock, earlier.clock);
      }
      if (earlier.kind.comesAfterAll()) {
        break;
      }
    }
    return found;
  }

  /** The threads that sleep after the step: those that did before and do not conflict with it. */
  private static long stillAsleep(ScheduledRun run, Node node, EmulatedThread thread) {
    long asleep = 0;
    long candidates = (node.sleep | node.done) & ~(1L << thread.index);
    while (candidates != 0) {
      int index = Long.numberOfTrailingZeros(candidates);
      candidates &= candidates - 1;
      EmulatedThread other = run.threads().get(index);
      boolean conflicts =
          other.object == thread.object
              && SharedObject.meet(other.part, thread.part)
              && other.kind.conflictsWith(thread.kind);
      asleep |= conflicts ? 0 : 1L << index;
    }
    return asleep;
  }

  /**
   * Makes sure that the step at {@code later} is explored before the one at {@code earlier}, too:
   * by one of the threads with which a schedule can begin that has all in between but what comes
   * after {@code earlier}.
   */
  private void reverse(int earlier, int later) {
    Node race = path.get(earlier);
    int[] first = new int[Long.SIZE];
    long initials = 0;
    for (int i = earlier + 1; i <= later; i++) {
      Node node = path.get(i);
      boolean comesAfterRace = i < later && VectorClock.of(node.clock, race.chosen) >= race.time;
      if (node.isValue || comesAfterRace || first[node.chosen] != 0) {
        continue;
      }
      boolean isInitial = true;
      for (int t = 0; t < node.clock.length; t++) {
        isInitial &= first[t] == 0 || node.clock[t] < first[t];
      }
      first[node.chosen] = node.time;
      initials |= isInitial ? 1L << node.chosen : 0;
    }
    initials &= race.enabled;
    if (initials == 0) {
      race.backtrack |= race.enabled;
    } else if ((initials & (race.backtrack | race.sleep)) == 0) {
      long preferred = initials & (1L << path.get(later).chosen);
      race.backtrack |= preferred != 0 ? preferred : Long.lowestOneBit(initials);
    }
  }
}
