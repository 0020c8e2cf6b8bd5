package dev.septum.tdx.module;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/** Disturbs SEAMCALLs: makes them fail, find locks taken, or meet interrupts and other calls. */
public final class SeamcallInjector {

  private final ConcurrentHashMap<SeamcallLeaf, List<Injection.Rule>> rules =
      new ConcurrentHashMap<>();
  private final ConcurrentHashMap<SeamcallLeaf, Long> injected = new ConcurrentHashMap<>();

  private volatile @Nullable Watch watch;

  SeamcallInjector() {}

  /** Sees every call before it runs, and may disturb it. */
  public interface Watch {
    /**
     * Called on the calling thread.
     *
     * @param call takes what is arranged for it
     */
    void called(SeamcallLeaf leaf, Injected call);
  }

  /**
   * Has every call watched from now on instead of what is arranged otherwise, or none if {@code
   * newWatch} is null.
   */
  public void watch(@Nullable Watch newWatch) {
    watch = newWatch;
  }

  /** Arranges something for calls of {@code leaf}. */
  public Injection on(SeamcallLeaf leaf) {
    return new Injection(this, leaf);
  }

  /** Makes the {@code nth} call of {@code leaf} from now on fail; 1 is the next one. */
  public void failNext(SeamcallLeaf leaf, long nth, long status) {
    on(leaf).next(nth).fail(status);
  }

  /** Makes every call of {@code leaf} fail from now on. */
  public void failAlways(SeamcallLeaf leaf, long status) {
    on(leaf).always().fail(status);
  }

  /** Forgets every arrangement and who watched; the count goes on. */
  public void clear() {
    rules.clear();
    watch = null;
  }

  /** How many calls were disturbed. */
  public long injected() {
    return injected.reduceValuesToLong(Long.MAX_VALUE, Long::longValue, 0, Long::sum);
  }

  void add(SeamcallLeaf leaf, Injection.Rule rule) {
    rules.merge(leaf, List.of(rule), SeamcallInjector::joined);
  }

  /** Counts one call, the leaf's {@code number}th; returns what was arranged for it. */
  Injected arrangedFor(SeamcallLeaf leaf, long number, SeamRegs regs) {
    Watch watching = watch;
    if (watching != null) {
      Injected arranged = new Injected();
      watching.called(leaf, arranged);
      return arranged;
    }
    if (!rules.containsKey(leaf)) {
      return Injected.NONE;
    }
    List<Injection.Rule> due = new ArrayList<>();
    rules.computeIfPresent(leaf, (key, present) -> afterOneCall(present, regs, number, due));
    if (due.isEmpty()) {
      return Injected.NONE;
    }
    injected.merge(leaf, 1L, Long::sum);
    Injected arranged = new Injected();
    due.forEach(rule -> rule.effect().applyTo(arranged));
    return arranged;
  }

  private static @Nullable List<Injection.Rule> afterOneCall(
      List<Injection.Rule> present, SeamRegs regs, long number, List<Injection.Rule> due) {
    List<Injection.Rule> left = new ArrayList<>();
    for (Injection.Rule rule : present) {
      boolean concerned = rule.concerns(regs, number);
      if (concerned && rule.isDue()) {
        due.add(rule);
      }
      if (!concerned) {
        left.add(rule);
      } else if (!rule.isSpent()) {
        left.add(rule.afterOneCall());
      }
    }
    return left.isEmpty() ? null : left;
  }

  private static List<Injection.Rule> joined(
      List<Injection.Rule> first, List<Injection.Rule> second) {
    List<Injection.Rule> all = new ArrayList<>(first);
    all.addAll(second);
    return all;
  }
}
