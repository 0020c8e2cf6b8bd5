package dev.septum.dpamt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import dev.septum.kernel.Kernel;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/**
 * The module's side of Dynamic PAMT: a pair or none for each range, with failures and stops on
 * demand. Insists that one call at a time comes in, from a holder of a spinning lock.
 */
final class FakeModule implements PamtSeamcalls {

  private final Kernel kernel;
  private final Map<Long, PagePair> pairs = new TreeMap<>();
  private final Queue<PamtAddStatus> addStatuses = new ArrayDeque<>();
  private final List<String> log = new ArrayList<>();
  private final AtomicInteger callers = new AtomicInteger();
  private final Set<Long> lockedByDemote = new HashSet<>();
  private BooleanSupplier removeFails = () -> false;
  private BooleanSupplier addFails = () -> false;
  private volatile @Nullable Gate addGate;
  private volatile @Nullable Gate removeGate;

  FakeModule(Kernel kernel) {
    this.kernel = kernel;
  }

  /** The next PAMT.ADD comes to {@code status}. */
  void failNextAdd(PamtAddStatus status) {
    addStatuses.add(status);
  }

  void failAddsIf(BooleanSupplier condition) {
    addFails = condition;
  }

  void failRemovesIf(BooleanSupplier condition) {
    removeFails = condition;
  }

  /** The next PAMT.ADD stops at the gate before it does anything. */
  Gate stopNextAdd() {
    Gate gate = new Gate();
    addGate = gate;
    return gate;
  }

  /** The next PAMT.REMOVE stops at the gate before it does anything. */
  Gate stopNextRemove() {
    Gate gate = new Gate();
    removeGate = gate;
    return gate;
  }

  /** The pairs that the module has, by range. */
  Map<Long, PagePair> pairs() {
    return pairs;
  }

  /** Each call when it came in and when it went out. */
  List<String> log() {
    return log;
  }

  @Override
  public PamtAddStatus add(long rangePfn, PagePair pair) {
    enter("add", rangePfn);
    Gate gate = addGate;
    if (gate != null) {
      addGate = null;
      gate.pass();
    }
    PamtAddStatus status = addStatus(rangePfn);
    if (status == PamtAddStatus.ADDED) {
      pairs.put(rangePfn, pair);
    }
    exit("add", rangePfn);
    return status;
  }

  @Override
  public @Nullable PagePair remove(long rangePfn) {
    enter("remove", rangePfn);
    Gate gate = removeGate;
    if (gate != null) {
      removeGate = null;
      gate.pass();
    }
    PagePair pair = removeFails.getAsBoolean() ? null : pairs.remove(rangePfn);
    exit("remove", rangePfn);
    return pair;
  }

  /** What DEMOTE does to the PAMT; its status is 0. */
  long demote(long rangePfn, PagePair pair) {
    enter("demote", rangePfn);
    assertThat(pairs.put(rangePfn, pair)).isNull();
    exit("demote", rangePfn);
    return 0;
  }

  /**
   * A DEMOTE that comes in without {@code pamt_lock}: while it holds the ranges that the pair's
   * pages are in, {@code meanwhile} happens. Its status is 0.
   */
  long demoteUnlocked(long rangePfn, PagePair pair, Runnable meanwhile) {
    lockedByDemote.add(pair.first() / 512 * 512);
    lockedByDemote.add(pair.second() / 512 * 512);
    meanwhile.run();
    lockedByDemote.clear();
    assertThat(pairs.put(rangePfn, pair)).isNull();
    return 0;
  }

  private PamtAddStatus addStatus(long rangePfn) {
    if (lockedByDemote.contains(rangePfn)) {
      return PamtAddStatus.BUSY;
    }
    PamtAddStatus scripted = addStatuses.poll();
    if (scripted != null) {
      return scripted;
    }
    if (pairs.containsKey(rangePfn)) {
      return PamtAddStatus.RANGE_NOT_FREE;
    }
    return addFails.getAsBoolean() ? PamtAddStatus.FAILED : PamtAddStatus.ADDED;
  }

  void enter(String call, long rangePfn) {
    assertThat(callers.incrementAndGet()).as("SEAMCALLs at once on PAMT").isEqualTo(1);
    assertThat(rangePfn % 512).as("range of %s", call).isZero();
    assertThatIllegalStateException()
        .isThrownBy(() -> kernel.locks().mightSleep(call))
        .withMessageContaining("pamt_lock");
    log.add(call + " " + rangePfn / 512);
  }

  void exit(String call, long rangePfn) {
    log.add(call + " " + rangePfn / 512 + " done");
    callers.decrementAndGet();
  }
}
