package dev.septum.lab.explore;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.PageLevel;
import dev.septum.lab.run.EmulatedVm;
import dev.septum.lab.run.ScenarioHost;
import dev.septum.lab.scenario.ByteRange;
import dev.septum.mmu.MappedLeaf;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** What the guests of a host have mapped, in words that do not depend on host pages. */
final class LeafText {

  /** Neighbouring leafs of one kind. */
  private record Run(long start, long end, String kind) {}

  private LeafText() {}

  /** One sentence for each root of a VM that maps anything. */
  static ImmutableList<String> of(ScenarioHost host) {
    List<EmulatedVm> vms = host.livingVms();
    ImmutableList.Builder<String> all = ImmutableList.builder();
    for (EmulatedVm vm : vms) {
      String of = vms.size() == 1 ? "" : " of " + vm.name();
      if (vm.hasExternalTable()) {
        add(all, "private" + of, privateRuns(vm));
      }
      add(all, (vm.hasExternalTable() ? "shared" : "mapped") + of, directRuns(vm));
    }
    return all.build();
  }

  private static void add(ImmutableList.Builder<String> all, String what, List<Run> runs) {
    if (!runs.isEmpty()) {
      all.add(
          what
              + " "
              + String.join(
                  ", ",
                  runs.stream()
                      .map(run -> new ByteRange(run.start, run.end) + " " + run.kind)
                      .toList()));
    }
  }

  private static List<Run> privateRuns(EmulatedVm vm) {
    List<Run> runs = new ArrayList<>();
    for (EmulatedVm.ExternalLeaf leaf : vm.externalLeafs()) {
      add(
          runs,
          leaf.gfn() << 12,
          leaf.level().pages() << 12,
          text(leaf.level()) + " " + leaf.state().name().toLowerCase(Locale.ROOT));
    }
    return runs;
  }

  private static List<Run> directRuns(EmulatedVm vm) {
    List<Run> runs = new ArrayList<>();
    for (MappedLeaf leaf : vm.view().directLeafs()) {
      add(runs, leaf.gfn() << 12, leaf.level().pages() << 12, text(leaf.level()));
    }
    return runs;
  }

  private static void add(List<Run> runs, long start, long size, String kind) {
    if (EmulatedVm.CODE.start() <= start && start < EmulatedVm.CODE.end()) {
      return;
    }
    int last = runs.size() - 1;
    if (last >= 0 && runs.get(last).end == start && runs.get(last).kind.equals(kind)) {
      runs.set(last, new Run(runs.get(last).start, start + size, kind));
    } else {
      runs.add(new Run(start, start + size, kind));
    }
  }

  private static String text(PageLevel level) {
    return level.name().substring("LEVEL_".length());
  }
}
