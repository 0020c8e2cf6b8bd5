package dev.septum.bench;

import com.google.common.collect.ImmutableList;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.List;
import org.jetbrains.kotlinx.lincheck.Actor;
import org.jetbrains.kotlinx.lincheck.execution.ExecutionScenario;
import org.jetbrains.lincheck.LincheckAssertionError;
import org.jetbrains.lincheck.datastructures.ModelCheckingOptions;

/**
 * Lincheck's model checking of the protocol, in a JVM of its own. Arguments: {@code first} or
 * {@code bounded}, how often, and for the latter invocations of each scenario.
 */
final class LincheckSubject {

  /** No thread allocates more than this in one run. */
  private static final int MOST_ALLOCATIONS = 4;

  /** The mutant is found long before. */
  private static final int ENOUGH_INVOCATIONS = 10_000;

  private LincheckSubject() {}

  public static void main(String[] args) throws NoSuchMethodException {
    int rounds = Integer.parseInt(args[1]);
    int invocations = Integer.parseInt(args[2]);
    List<ExecutionScenario> scenarios = scenarios();
    for (int round = 0; round < rounds; round++) {
      if (args[0].equals("first")) {
        first(scenarios);
      } else {
        bounded(scenarios, invocations);
      }
    }
  }

  private static void first(List<ExecutionScenario> scenarios) {
    long start = System.nanoTime();
    try {
      options(scenarios, ENOUGH_INVOCATIONS).check(LincheckCache.Unchecked.class);
    } catch (LincheckAssertionError found) {
      Mark.FIRST.print(System.nanoTime() - start, 0, 0);
      return;
    }
    throw new IllegalStateException("the mutant was not found");
  }

  private static void bounded(List<ExecutionScenario> scenarios, int invocations) {
    long start = System.nanoTime();
    options(scenarios, invocations).check(LincheckCache.Checked.class);
    Mark.BOUNDED.print(System.nanoTime() - start, (long) invocations * scenarios.size(), 0);
  }

  private static ModelCheckingOptions options(List<ExecutionScenario> scenarios, int invocations) {
    ModelCheckingOptions options =
        new ModelCheckingOptions()
            .iterations(0)
            .invocationsPerIteration(invocations)
            .minimizeFailedScenario(false);
    scenarios.forEach(options::addCustomScenario);
    return options;
  }

  /**
   * Two splitters and two toppers: without a failure, and with each failure of one splitter and of
   * one topper. Those of the other two would be the same again.
   */
  private static List<ExecutionScenario> scenarios() throws NoSuchMethodException {
    List<ExecutionScenario> scenarios = new ArrayList<>();
    scenarios.add(scenario(0, 0));
    for (int failing = 1; failing <= MOST_ALLOCATIONS; failing++) {
      scenarios.add(scenario(failing, 0));
      scenarios.add(scenario(0, failing));
    }
    return scenarios;
  }

  private static ExecutionScenario scenario(int failingSplit, int failingTopup)
      throws NoSuchMethodException {
    Method split = LincheckCache.class.getMethod("split", int.class);
    Method topup = LincheckCache.class.getMethod("topup", int.class);
    return new ExecutionScenario(
        ImmutableList.of(),
        ImmutableList.of(
            ImmutableList.of(new Actor(split, ImmutableList.of(failingSplit))),
            ImmutableList.of(new Actor(split, ImmutableList.of(0))),
            ImmutableList.of(new Actor(topup, ImmutableList.of(failingTopup))),
            ImmutableList.of(new Actor(topup, ImmutableList.of(0)))),
        ImmutableList.of(),
        null);
  }
}
