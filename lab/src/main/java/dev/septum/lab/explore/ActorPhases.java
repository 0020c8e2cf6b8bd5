package dev.septum.lab.explore;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.schedule.ScheduledKernel;
import dev.septum.lab.run.AfterFailures;
import dev.septum.lab.run.ConcurrentPhases;
import dev.septum.lab.run.RunReport.StepReport;
import dev.septum.lab.run.ScenarioHost;
import dev.septum.tdx.module.Injected;
import dev.septum.tdx.module.OperandId;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxStatus;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * In the phases that have actors, lets the search choose which allocations and SEAMCALLs fail, and
 * says what a run came to.
 */
final class ActorPhases implements ConcurrentPhases {

  private final ScheduledKernel kernel;
  private final Set<String> busySeamcalls = new HashSet<>();
  private final List<String> outcomes = new ArrayList<>();
  private final List<String> findings = new ArrayList<>();

  ActorPhases(ScheduledKernel kernel) {
    this.kernel = kernel;
  }

  @Override
  public void begins(ScenarioHost host) {
    host.pages().faults().failWhen(kernel.anyMayFail());
    host.watchSeamcalls(this::called);
  }

  private void called(SeamcallLeaf leaf, Injected call) {
    if (kernel.mayFail(leaf.kernelName())) {
      busySeamcalls.add(leaf.kernelName());
      call.fail(TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);
    }
  }

  @Override
  public boolean ended(ScenarioHost host, List<StepReport> steps) {
    host.pages().faults().clear();
    host.watchSeamcalls(null);
    Map<String, String> results = new LinkedHashMap<>();
    for (StepReport step : steps) {
      results.merge(String.valueOf(step.actor()), step.result(), (a, b) -> a + " " + b);
    }
    List<String> parts = new ArrayList<>();
    results.forEach((actor, its) -> parts.add(actor + ": " + its));
    parts.addAll(LeafText.of(host));
    boolean disturbed = kernel.failures() > 0;
    if (disturbed) {
      parts.add("after " + kernel.failures() + " failure" + (kernel.failures() == 1 ? "" : "s"));
      judge(host, parts);
    }
    outcomes.add(String.join("; ", parts));
    return disturbed;
  }

  private void judge(ScenarioHost host, List<String> parts) {
    AfterFailures after = new AfterFailures(host, busySeamcalls::contains);
    findings.addAll(after.findings());
    findings.addAll(after.tearDown());
    String kind = after.kind() + after.lost();
    if (!kind.isEmpty()) {
      parts.add(kind.replaceFirst("^, ", ""));
    }
  }

  /** What the run came to: the results of all steps, and what is mapped in the end. */
  String outcome() {
    return String.join(" | ", outcomes);
  }

  /** What must not be, in a run with failures. */
  ImmutableList<String> findings() {
    return ImmutableList.copyOf(findings);
  }
}
