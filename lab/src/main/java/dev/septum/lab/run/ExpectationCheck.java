package dev.septum.lab.run;

import com.google.common.collect.Iterables;
import com.google.common.collect.Range;
import com.google.common.collect.RangeSet;
import com.google.common.collect.TreeRangeSet;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.lab.scenario.Amount;
import dev.septum.lab.scenario.ByteRange;
import dev.septum.lab.scenario.Expectation;
import dev.septum.lab.scenario.Kind;
import dev.septum.lab.scenario.Mapped;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.Memslot;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.SeptState;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** Holds what a scenario expects against what there is. Nothing may run meanwhile. */
final class ExpectationCheck {

  private final ScenarioHost host;
  private final Findings findings;

  /** The counters when the phase began, by VM; the host's are under the empty name. */
  private final Map<String, Map<String, Long>> before = new HashMap<>();

  private final Map<SeamcallLeaf, Long> seamcallsBefore = new EnumMap<>(SeamcallLeaf.class);

  /** Texts of violations that are known by now: what is broken stays broken. */
  private final List<String> knownViolations = new ArrayList<>();

  /** Owners of pages that will be left in the end, and where the file says so. */
  private final Map<String, String> leaks = new HashMap<>();

  /** VMs that may be bugged. */
  private final List<String> knownBugged = new ArrayList<>();

  ExpectationCheck(ScenarioHost host, Findings findings) {
    this.host = host;
    this.findings = findings;
  }

  /** A phase begins: growth is counted from here. */
  void beginPhase() {
    before.put("", host.counters());
    host.livingVms().forEach(vm -> before.put(vm.name(), vm.counters()));
    for (SeamcallLeaf leaf : SeamcallLeaf.values()) {
      seamcallsBefore.put(leaf, host.callsOf(leaf));
    }
  }

  /** Checks one expectation. */
  void check(String at, Expectation expectation) {
    if (!expectation.isFor(host.backend())) {
      return;
    }
    String name =
        expectation.vm() == null && host.vmNames().size() == 1
            ? Iterables.getOnlyElement(host.vmNames())
            : expectation.vm();
    EmulatedVm vm = name == null ? null : host.vm(name);
    if (vm != null && vm.isDestroyed()) {
      vm = null;
    }
    if (vm != null) {
      checkMappings(at + "/private", vm, expectation.privateMemory(), true);
      checkMappings(at + "/shared", vm, expectation.sharedMemory(), false);
      checkMemory(at, vm, expectation);
      checkNothingElse(at, vm, expectation);
      boolean bugged = Boolean.TRUE.equals(expectation.bugged());
      if (bugged) {
        knownBugged.add(vm.name());
      }
      if (expectation.bugged() != null && vm.kvm().isBugged() != bugged) {
        findings.add(
            at + "/bugged",
            bugged ? "the VM is not bugged" : "the VM is bugged: " + vm.kvm().splat());
      }
    }
    checkCounts(at + "/stats", expectation.stats(), counters(vm), Map.of());
    checkCounts(at + "/growth", expectation.growth(), counters(vm), countersBefore(vm));
    checkCounts(at + "/pages", expectation.pages(), host.pagesByOwner(), Map.of());
    checkCounts(at + "/allocated", expectation.allocated(), host.allocated(), Map.of());
    checkSeamcalls(at + "/seamcalls", expectation.seamcalls());
    knownViolations.addAll(expectation.violations());
    expectation.leaks().forEach(owner -> leaks.put(owner, at + "/leaks"));
  }

  private Map<String, Long> counters(@Nullable EmulatedVm vm) {
    Map<String, Long> all = new TreeMap<>(host.counters());
    if (vm != null) {
      all.putAll(vm.counters());
    }
    return all;
  }

  private Map<String, Long> countersBefore(@Nullable EmulatedVm vm) {
    Map<String, Long> all = new TreeMap<>(before.getOrDefault("", Map.of()));
    if (vm != null) {
      all.putAll(before.getOrDefault(vm.name(), Map.of()));
    }
    return all;
  }

  private void checkCounts(
      String at, Map<String, Amount> wanted, Map<String, Long> counts, Map<String, Long> start) {
    wanted.forEach(
        (name, amount) -> {
          long count = counts.getOrDefault(name, 0L) - start.getOrDefault(name, 0L);
          if (!amount.holds(count)) {
            findings.add(
                at + "/" + name, "%s is %d, expected was %s".formatted(name, count, amount));
          }
        });
  }

  private void checkSeamcalls(String at, Map<SeamcallLeaf, Amount> wanted) {
    wanted.forEach(
        (leaf, amount) -> {
          long count = host.callsOf(leaf) - seamcallsBefore.getOrDefault(leaf, 0L);
          if (!amount.holds(count)) {
            findings.add(
                at + "/" + leaf,
                "%s was called %d time(s), expected was %s".formatted(leaf, count, amount));
          }
        });
  }

  private void checkMemory(String at, EmulatedVm vm, Expectation expectation) {
    expectation
        .attributes()
        .forEach((range, kind) -> checkAttributes(at + "/attributes/" + range, vm, range, kind));
    expectation
        .mixed()
        .forEach(
            (range, wanted) ->
                checkFlag(
                    at + "/mixed/" + range,
                    vm,
                    range,
                    wanted,
                    "mixed",
                    (slot, gfn) -> vm.view().isMixed(slot, gfn, PageLevel.LEVEL_2M)));
    expectation
        .inhibited()
        .forEach(
            (range, wanted) ->
                checkFlag(
                    at + "/inhibited/" + range,
                    vm,
                    range,
                    wanted,
                    "inhibited",
                    (slot, gfn) -> slot.hasGuestInhibit(gfn, PageLevel.LEVEL_2M)));
  }

  private void checkAttributes(String at, EmulatedVm vm, ByteRange range, Kind kind) {
    for (long gfn = range.frames().start(); gfn < range.frames().end(); gfn++) {
      if (vm.view().isPrivate(gfn) != (kind == Kind.PRIVATE)) {
        findings.add(at, "0x%x is not %s".formatted(gfn << 12, kind));
        return;
      }
    }
  }

  private interface SlotFlag {
    boolean isSet(Memslot slot, long gfn);
  }

  private void checkFlag(
      String at, EmulatedVm vm, ByteRange range, boolean wanted, String name, SlotFlag flag) {
    GfnRange frames = range.frames();
    for (long gfn = PageLevel.LEVEL_2M.alignDown(frames.start());
        gfn < frames.end();
        gfn += PageLevel.LEVEL_2M.pages()) {
      Memslot slot = vm.mmu().memslots().find(Math.max(gfn, frames.start()));
      if (slot == null || flag.isSet(slot, gfn) != wanted) {
        findings.add(
            at, "the 2M page at 0x%x is %s%s".formatted(gfn << 12, wanted ? "not " : "", name));
        return;
      }
    }
  }

  // Mappings.

  private static List<MappedLeaf> leafs(EmulatedVm vm, boolean isPrivate) {
    if (vm.hasExternalTable()) {
      return isPrivate ? vm.view().mirrorLeafs() : vm.view().directLeafs();
    }
    // One root has both; a leaf is what its frames are.
    return vm.view().directLeafs().stream()
        .filter(leaf -> vm.view().isPrivate(leaf.gfn()) == isPrivate)
        .toList();
  }

  private void checkMappings(
      String at, EmulatedVm vm, Map<ByteRange, Mapped> wanted, boolean isPrivate) {
    if (wanted.isEmpty()) {
      return;
    }
    List<MappedLeaf> leafs = leafs(vm, isPrivate);
    wanted.forEach((range, mapped) -> checkRange(at + "/" + range, vm, leafs, range, mapped));
  }

  private void checkRange(
      String at, EmulatedVm vm, List<MappedLeaf> leafs, ByteRange range, Mapped mapped) {
    GfnRange frames = range.frames();
    RangeSet<Long> missing = TreeRangeSet.create();
    missing.add(Range.closedOpen(frames.start(), frames.end()));
    for (MappedLeaf leaf : leafs) {
      GfnRange gfns = GfnRange.ofPages(leaf.gfn(), leaf.level().pages());
      if (gfns.overlaps(frames)) {
        if (leaf.level() != mapped.level() || !frames.contains(gfns)) {
          findings.add(
              at,
              "%s is mapped by a %s leaf at 0x%x, expected was %s"
                  .formatted(range, text(leaf.level()), leaf.gfn() << 12, mapped));
          return;
        }
        missing.remove(Range.closedOpen(gfns.start(), gfns.end()));
      }
    }
    if (mapped.level() != null && !missing.isEmpty()) {
      findings.add(
          at,
          "0x%x is not mapped, expected was %s"
              .formatted(missing.span().lowerEndpoint() << 12, mapped));
    }
    // Only a TD's memory can be pending: elsewhere what is mapped is what the guest has.
    if (mapped.isPending() != null && vm instanceof TdVm) {
      checkState(at, vm, frames, mapped);
    }
  }

  private void checkState(String at, EmulatedVm vm, GfnRange frames, Mapped mapped) {
    SeptState wanted =
        Boolean.TRUE.equals(mapped.isPending()) ? SeptState.PENDING : SeptState.MAPPED;
    for (EmulatedVm.ExternalLeaf leaf : vm.externalLeafs()) {
      if (frames.contains(leaf.gfn()) && leaf.state() != wanted) {
        findings.add(
            at, "0x%x is %s, expected was %s".formatted(leaf.gfn() << 12, leaf.state(), mapped));
        return;
      }
    }
  }

  private void checkNothingElse(String at, EmulatedVm vm, Expectation expectation) {
    if (!expectation.nothingElse()) {
      return;
    }
    String place = at + "/nothing-else";
    checkNothingElse(place, leafs(vm, true), expectation.privateMemory(), "private");
    checkNothingElse(place, leafs(vm, false), expectation.sharedMemory(), "shared");
  }

  private void checkNothingElse(
      String at, List<MappedLeaf> leafs, Map<ByteRange, Mapped> wanted, String kind) {
    for (MappedLeaf leaf : leafs) {
      boolean isNamed =
          EmulatedVm.CODE.frames().contains(leaf.gfn())
              || wanted.keySet().stream().anyMatch(r -> r.frames().contains(leaf.gfn()));
      if (!isNamed) {
        findings.add(
            at,
            "%s memory at 0x%x is mapped by a %s leaf, expected was nothing else"
                .formatted(kind, leaf.gfn() << 12, text(leaf.level())));
        return;
      }
    }
  }

  private static String text(PageLevel level) {
    return level.name().substring("LEVEL_".length());
  }

  // Invariants.

  /** Checks every invariant of the host; those that are known to be violated must be. */
  void checkInvariants(String at) {
    List<String> violations = host.violations();
    for (String violation : violations) {
      boolean known =
          knownViolations.stream().anyMatch(violation::contains)
              || (violation.contains(" is bugged: ") && isKnownBugged(violation));
      if (!known) {
        findings.add(at, violation);
      }
    }
    for (String known : knownViolations) {
      if (violations.stream().noneMatch(violation -> violation.contains(known))) {
        findings.add(at, "expected was a violation that says \"%s\"".formatted(known));
      }
    }
    knownViolations.retainAll(
        knownViolations.stream()
            .filter(known -> violations.stream().anyMatch(v -> v.contains(known)))
            .toList());
  }

  private boolean isKnownBugged(String violation) {
    return knownBugged.stream()
        .anyMatch(
            name -> violation.startsWith("VM %d is bugged".formatted(host.vm(name).kvm().id())));
  }

  /** Everything is gone: what is left must be known, and what is known must be left. */
  void checkLeft(List<String> left) {
    for (String sentence : left) {
      if (leaks.keySet().stream().noneMatch(sentence::contains)) {
        findings.add("/vms", sentence);
      }
    }
    leaks.forEach(
        (owner, at) -> {
          if (left.stream().noneMatch(sentence -> sentence.contains(owner))) {
            findings.add(at, "in the end %s has no page, expected was a leak".formatted(owner));
          }
        });
  }
}
