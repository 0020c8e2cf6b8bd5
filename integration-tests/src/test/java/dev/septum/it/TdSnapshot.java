package dev.septum.it;

import com.google.common.collect.ImmutableSet;
import com.google.common.collect.ImmutableSortedSet;
import com.google.common.collect.Sets;
import dev.septum.mmu.MmuView;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.module.TdxModuleView;
import dev.septum.tdx.module.TdxModuleView.SeptLeaf;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/**
 * Everything that a host and its TDs have at one moment, a line each: mirror and direct tables,
 * S-EPT leafs and tables, page pairs, refcounts, caches, page census, statistics. Lines begin with
 * what they are about.
 */
record TdSnapshot(ImmutableSortedSet<String> lines) {

  static TdSnapshot of(TdxHost host, List<Vmm> vmms) {
    ImmutableSortedSet.Builder<String> lines = ImmutableSortedSet.naturalOrder();
    TdxModuleView module = host.module().view();
    module
        .pamtPairs()
        .forEach((hpa, pair) -> lines.add("pair of 0x%x: %s".formatted(hpa >>> 12, pair)));
    host.dpamt()
        .refcounts()
        .forEach((pfn, count) -> lines.add("refcount of 0x%x: %d".formatted(pfn, count)));
    host.host()
        .pages()
        .census()
        .forEach((owner, count) -> lines.add("pages %s: %d".formatted(owner.tag(), count)));
    host.host()
        .pages()
        .objects()
        .forEach((slab, count) -> lines.add("objects %s: %d".formatted(slab, count)));
    for (Vmm vmm : vmms) {
      addVm(lines, module, vmm);
    }
    return new TdSnapshot(lines.build());
  }

  private static void addVm(
      ImmutableSortedSet.Builder<String> lines, TdxModuleView module, Vmm vmm) {
    KvmTdx kvm = vmm.kvm();
    String vm = "VM " + kvm.id();
    String root = "";
    for (String line : new MmuView(kvm.mmu()).dump().lines().toList()) {
      if (line.startsWith("root ")) {
        root = line.startsWith("root mirror ") ? "mirror" : "direct";
      }
      lines.add("tables %s %s: %s".formatted(vm, root, line));
    }
    septRuns(module.leafs(kvm.tdr() << 12)).forEach(run -> lines.add("sept " + vm + " " + run));
    module
        .tables(kvm.tdr() << 12)
        .forEach(table -> lines.add("sept %s table: %s".formatted(vm, table)));
    lines.add("split cache %s: %d".formatted(vm, kvm.splitCacheCount()));
    addCounters(lines, "stats " + vm, kvm.stats().toMap());
    vmm.vcpus()
        .forEach(
            vcpu ->
                addCounters(
                    lines, "stats %s vCPU %d".formatted(vm, vcpu.id()), vcpu.stats().toMap()));
  }

  private static void addCounters(
      ImmutableSortedSet.Builder<String> lines, String whose, Map<String, Long> counters) {
    counters.forEach((name, value) -> lines.add("%s %s: %d".formatted(whose, name, value)));
  }

  /** Leafs of one state and level that follow each other in both memories share a line. */
  private static List<String> septRuns(List<SeptLeaf> leafs) {
    List<String> runs = new ArrayList<>();
    int start = 0;
    for (int i = 1; i <= leafs.size(); i++) {
      if (i == leafs.size() || !follows(leafs.get(i - 1), leafs.get(i))) {
        SeptLeaf first = leafs.get(start);
        runs.add(
            "%d leafs L%d %s at gfn 0x%x: pfn 0x%x"
                .formatted(
                    i - start,
                    first.level() + 1,
                    first.state(),
                    first.gpa() >>> 12,
                    first.hpa() >>> 12));
        start = i;
      }
    }
    return runs;
  }

  private static boolean follows(SeptLeaf leaf, SeptLeaf next) {
    long bytes = 4096L << (9 * leaf.level());
    return next.level() == leaf.level()
        && next.state() == leaf.state()
        && next.gpa() == leaf.gpa() + bytes
        && next.hpa() == leaf.hpa() + bytes;
  }

  /** This snapshot without the lines that begin with one of these words. */
  TdSnapshot without(String... subjects) {
    Predicate<String> isIn = line -> List.of(subjects).stream().anyMatch(line::startsWith);
    return new TdSnapshot(
        lines.stream()
            .filter(isIn.negate())
            .collect(ImmutableSortedSet.toImmutableSortedSet(String::compareTo)));
  }

  /** What differs: lines that went with a minus, lines that came with a plus; empty if nothing. */
  List<String> diffTo(TdSnapshot later) {
    List<String> diff = new ArrayList<>();
    ImmutableSet<String> gone = Sets.difference(lines, later.lines).immutableCopy();
    gone.forEach(line -> diff.add("- " + line));
    Sets.difference(later.lines, lines).forEach(line -> diff.add("+ " + line));
    return diff;
  }
}
