package dev.septum.kernel;

import static com.google.common.base.Preconditions.checkArgument;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * Decides which calls fail. A place is the name of a thing that can fail (a page owner's tag, a
 * slab name, a SEAMCALL); calls of each place are counted from 1.
 */
public final class FaultInjector {

  /** Decides whether a call fails. */
  public interface Rule {
    /**
     * Whether call number {@code call} at {@code place}, counted from the very first, fails. Asked
     * once for each call, in their order, and must not allocate.
     */
    boolean fails(String place, long call);
  }

  private final List<Rule> rules = new ArrayList<>();
  private final Map<String, Long> calls = new HashMap<>();
  private long failures;

  /** Makes call number {@code nth} at {@code place}, counted from the very first, fail. */
  public synchronized void failAt(String place, long nth) {
    checkArgument(nth >= 1, "call numbers start at 1, not %s", nth);
    rules.add((p, call) -> call == nth && p.equals(place));
  }

  /** Makes the {@code nth} call from now on at {@code place} fail: 1 is the next one. */
  public synchronized void failNext(String place, long nth) {
    checkArgument(nth >= 1, "call numbers start at 1, not %s", nth);
    failAt(place, callsAt(place) + nth);
  }

  /** Makes every call at {@code place} fail from now on. */
  public synchronized void failAlways(String place) {
    rules.add((p, call) -> p.equals(place));
  }

  /** Makes each call at any place fail with the given probability, drawn from {@code seed}. */
  public synchronized void failRandomly(double probability, long seed) {
    checkArgument(
        probability >= 0 && probability <= 1, "probability %s is not in [0, 1]", probability);
    Random random = new Random(seed);
    rules.add((p, call) -> random.nextDouble() < probability);
  }

  /** Asks a rule at every call from now on. */
  public synchronized void failWhen(Rule rule) {
    rules.add(rule);
  }

  /** Forgets every rule; the counts go on. */
  public synchronized void clear() {
    rules.clear();
  }

  /** Counts one call at {@code place} and says whether it must fail. */
  public synchronized boolean shouldFail(String place) {
    long call = calls.merge(place, 1L, Long::sum);
    boolean fail = false;
    for (Rule rule : rules) {
      fail |= rule.fails(place, call);
    }
    if (fail) {
      failures++;
    }
    return fail;
  }

  /** How many calls there have been at {@code place}. */
  public synchronized long callsAt(String place) {
    return calls.getOrDefault(place, 0L);
  }

  /** How many calls were made to fail. */
  public synchronized long failures() {
    return failures;
  }
}
