package dev.septum.tdx.module;

import static com.google.common.base.Preconditions.checkArgument;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/** Makes SEAMCALLs fail with a given status before the module's code runs: nothing changes. */
public final class SeamcallInjector {

  /** Fails call number {@code fails} from now; with 0, all of them. */
  private record Rule(long fails, long status) {

    Rule afterOneCall() {
      return fails == 0 ? this : new Rule(fails - 1, status);
    }

    boolean isDue() {
      return fails <= 1;
    }

    boolean isSpent() {
      return fails == 1;
    }
  }

  private final ConcurrentHashMap<SeamcallLeaf, List<Rule>> rules = new ConcurrentHashMap<>();
  private final ConcurrentHashMap<SeamcallLeaf, Long> injected = new ConcurrentHashMap<>();

  SeamcallInjector() {}

  /** Makes the {@code nth} call of {@code leaf} from now on fail; 1 is the next one. */
  public void failNext(SeamcallLeaf leaf, long nth, long status) {
    checkArgument(nth >= 1, "call numbers start at 1, not %s", nth);
    add(leaf, new Rule(nth, status));
  }

  /** Makes every call of {@code leaf} fail from now on. */
  public void failAlways(SeamcallLeaf leaf, long status) {
    add(leaf, new Rule(0, status));
  }

  /** Forgets every rule; the count goes on. */
  public void clear() {
    rules.clear();
  }

  /** How many calls were made to fail. */
  public long injected() {
    return injected.reduceValuesToLong(Long.MAX_VALUE, Long::longValue, 0, Long::sum);
  }

  /** Counts one call; the status that it must fail with, if it must. */
  @Nullable Long statusFor(SeamcallLeaf leaf) {
    if (rules.isEmpty()) {
      return null;
    }
    List<Long> due = new ArrayList<>();
    rules.computeIfPresent(leaf, (key, present) -> afterOneCall(present, due));
    if (due.isEmpty()) {
      return null;
    }
    injected.merge(leaf, 1L, Long::sum);
    return due.get(0);
  }

  private void add(SeamcallLeaf leaf, Rule rule) {
    rules.merge(leaf, List.of(rule), SeamcallInjector::joined);
  }

  private static @Nullable List<Rule> afterOneCall(List<Rule> present, List<Long> due) {
    List<Rule> left = new ArrayList<>();
    for (Rule rule : present) {
      if (rule.isDue()) {
        due.add(rule.status());
      }
      if (!rule.isSpent()) {
        left.add(rule.afterOneCall());
      }
    }
    return left.isEmpty() ? null : left;
  }

  private static List<Rule> joined(List<Rule> first, List<Rule> second) {
    List<Rule> all = new ArrayList<>(first);
    all.addAll(second);
    return all;
  }
}
