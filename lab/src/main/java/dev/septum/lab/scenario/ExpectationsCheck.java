package dev.septum.lab.scenario;

import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Sets;
import java.util.Collection;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** Whether expectations make sense. */
final class ExpectationsCheck {

  private final Scenario scenario;
  private final Refusals refusals;
  private final Set<String> backends;

  ExpectationsCheck(Scenario scenario, Refusals refusals, Set<String> backends) {
    this.scenario = scenario;
    this.refusals = refusals;
    this.backends = backends;
  }

  void check(String at, Expectation expectation) throws ScenarioException {
    checkBackends(at + "/backends", expectation.backends());
    Set<String> names = ImmutableSet.copyOf(Sets.union(Counters.OF_VMS, Counters.OF_THE_HOST));
    if (isAboutVm(expectation)) {
      String vm = refusals.requireChoice(at, "vm", expectation.vm(), scenario.vms().keySet());
      boolean isTd = vm(vm).type() == VmSetup.TypeName.TDX;
      names = isTd ? Sets.union(names, Counters.OF_TDS) : names;
      checkStates(at + "/private", expectation.privateMemory(), isTd);
      checkStates(at + "/shared", expectation.sharedMemory(), false);
    }
    checkRanges(at, expectation);
    checkCounters(at + "/stats", expectation.stats(), names);
    checkCounters(at + "/growth", expectation.growth(), names);
    for (String owner : expectation.pages().keySet()) {
      refusals.requireName(at + "/pages/" + owner, "owner", owner, Counters.OWNERS);
    }
    for (String owner : expectation.leaks()) {
      refusals.requireName(at + "/leaks", "owner", owner, Counters.ALLOCATIONS);
    }
    for (String file : expectation.allocated().keySet()) {
      refusals.requireName(at + "/allocated/" + file, "file", file, scenario.files().keySet());
    }
  }

  private void checkStates(String at, Map<ByteRange, Mapped> mapped, boolean haveState)
      throws ScenarioException {
    for (Map.Entry<ByteRange, Mapped> entry : mapped.entrySet()) {
      refusals.require(
          entry.getValue().isPending() == null || haveState,
          at + "/" + entry.getKey(),
          "\"%s\": pending and accepted are states of a TD's private memory",
          entry.getValue());
    }
  }

  private void checkRanges(String at, Expectation expectation) throws ScenarioException {
    refusals.requirePages(at + "/private", expectation.privateMemory().keySet());
    refusals.requirePages(at + "/shared", expectation.sharedMemory().keySet());
    refusals.requirePages(at + "/attributes", expectation.attributes().keySet());
    refusals.requirePages(at + "/mixed", expectation.mixed().keySet());
    refusals.requirePages(at + "/inhibited", expectation.inhibited().keySet());
  }

  private void checkCounters(String at, Map<String, Amount> wanted, Set<String> names)
      throws ScenarioException {
    for (String name : wanted.keySet()) {
      refusals.requireName(at + "/" + name, "counter", name, names);
    }
  }

  private static boolean isAboutVm(Expectation e) {
    return e.vm() != null
        || e.bugged() != null
        || e.nothingElse()
        || !e.privateMemory().isEmpty()
        || !e.sharedMemory().isEmpty()
        || !e.attributes().isEmpty()
        || !e.mixed().isEmpty()
        || !e.inhibited().isEmpty()
        || !Counters.OF_THE_HOST.containsAll(Sets.union(e.stats().keySet(), e.growth().keySet()));
  }

  private VmSetup vm(String name) {
    return Optional.ofNullable(scenario.vms().get(name)).orElseThrow();
  }

  void checkBackends(String at, Collection<String> named) throws ScenarioException {
    for (String backend : named) {
      refusals.requireName(at, "backend", backend, backends);
    }
  }
}
