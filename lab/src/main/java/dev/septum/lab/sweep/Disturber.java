package dev.septum.lab.sweep;

import dev.septum.dpamt.Dpamt;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.lab.run.QuietLog;
import dev.septum.lab.run.ScenarioHost;
import dev.septum.lab.sweep.Plan.Disturbance;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.module.Injected;
import dev.septum.tdx.module.SeamcallLeaf;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Watches a host while a flow runs on it, notes each point that the flow passes, and disturbs it as
 * planned. For one thread at a time.
 */
final class Disturber {

  private final ScenarioHost host;
  private final Plan plan;
  private final Map<String, Integer> calls = new HashMap<>();
  private final List<Point> passed = new ArrayList<>();
  private final Set<Disturbance> done = new HashSet<>();

  /** Pages that another thread has pairs for. */
  private final List<Long> neighbours = new ArrayList<>();

  Disturber(ScenarioHost host, Plan plan) {
    this.host = host;
    this.plan = plan;
  }

  /** From now on the flow is watched. */
  void start() {
    host.pages().faults().failWhen((place, call) -> disturbsAllocation(place));
    host.watchSeamcalls(this::called);
    host.kernel().before(LockClass.PAMT_LOCK, 1, Integer.MAX_VALUE, this::aboutToLock);
  }

  /** The flow is over. */
  void stop() {
    host.pages().faults().clear();
    host.watchSeamcalls(null);
    host.kernel().clearHooks();
    TdxHost tdx = host.tdx();
    if (tdx != null) {
      neighbours.forEach(tdx.dpamt()::put);
    }
    neighbours.clear();
  }

  /** The points that were passed, in their order. */
  List<Point> passed() {
    return passed;
  }

  /** Whether everything that was planned has happened. */
  boolean isDone() {
    return done.size() == plan.disturbances().size();
  }

  private Point pass(String place) {
    Point point = new Point(place, calls.merge(place, 1, Integer::sum));
    passed.add(point);
    return point;
  }

  private boolean isDue(Disturbance disturbance, Point point) {
    if (!disturbance.concerns(point.place(), point.number())) {
      return false;
    }
    done.add(disturbance);
    return true;
  }

  private boolean disturbsAllocation(String place) {
    Point point = pass(place);
    boolean fails = false;
    for (Disturbance disturbance : plan.disturbances()) {
      fails |= isDue(disturbance, point);
    }
    return fails;
  }

  private void called(SeamcallLeaf leaf, Injected call) {
    Point point = pass(leaf.kernelName());
    for (Disturbance disturbance : plan.disturbances()) {
      if (isDue(disturbance, point)) {
        disturbance.mode().disturb(call);
      }
    }
  }

  private void aboutToLock() {
    Point point = pass(LockClass.PAMT_LOCK.kernelName());
    for (Disturbance disturbance : plan.disturbances()) {
      if (isDue(disturbance, point)) {
        KernelThread other =
            host.kernel().spawn("other", QuietLog.quiet(this::getPairsForNewPages));
        other.join();
      }
    }
  }

  /** Gets a pair for each page that may become one of the S-EPT and has none in its range. */
  private void getPairsForNewPages() {
    TdxHost tdx = host.tdx();
    if (tdx == null) {
      return;
    }
    PageAllocator pages = host.pages();
    Dpamt dpamt = tdx.dpamt();
    for (long pfn = 0; pfn < pages.totalPages(); pfn++) {
      if (pages.ownerOf(pfn) == PageOwner.EXTERNAL_PAGE_TABLE
          && dpamt.refcount(pfn) == 0
          && !dpamt.get(pfn).isError()) {
        neighbours.add(pfn);
      }
    }
  }
}
