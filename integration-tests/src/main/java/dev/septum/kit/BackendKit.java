package dev.septum.kit;

import static dev.septum.kit.KitVm.FIRST;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.Placement;
import dev.septum.kernel.schedule.Exploration;
import dev.septum.kernel.schedule.ExplorationResult;
import dev.septum.kvm.Breach;
import dev.septum.kvm.Capability;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Host;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.FaultOutcome;
import java.time.Duration;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.extension.ExtendWith;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A part of the conformance kit. An author extends each part once, with a backend:
 *
 * <pre>{@code
 * class MySplitTest extends SplitRules {
 *   protected Subject subject() {
 *     return new Subject(new MyBackend());
 *   }
 * }
 * }</pre>
 *
 * <p>Each test method is a rule of {@code docs/spec.md}. A rule on something that the backend does
 * not claim is skipped, and so is one that cannot be judged since the backend breaks another: the
 * reason says which.
 */
@ExtendWith(Judge.class)
public abstract class BackendKit {

  private static final Logger LOG = LoggerFactory.getLogger(BackendKit.class);

  /** Schedules of one strategy that a race is played under at most. */
  private static final long MOST_SCHEDULES = 1000;

  private final Queue<KitVm> vms = new ConcurrentLinkedQueue<>();
  private final Queue<OpLog> logs = new ConcurrentLinkedQueue<>();
  private final WatchedKernel kernel = new WatchedKernel(Kernel.host());
  private final Queue<String> explorations = new ConcurrentLinkedQueue<>();
  private volatile @Nullable Subject subject;
  private volatile @Nullable KitVm breachedRacer;
  private volatile @Nullable NotJudged doubt;

  /** For the kit's parts. */
  BackendKit() {}

  /** What is judged. */
  protected abstract Subject subject();

  private Subject judged() {
    Subject known = subject;
    if (known == null) {
      known = subject();
      subject = known;
    }
    return known;
  }

  final KvmBackend backend() {
    return judged().backend();
  }

  final Set<Capability> capabilities() {
    return judged().capabilities();
  }

  final boolean refuseNextSplit(KitVm vm) {
    return judged().refuseNextSplit(vm);
  }

  final Duration timeLimit() {
    return judged().timeLimit();
  }

  final KitVm newVm(Host host) {
    return judged().newVm(host);
  }

  /** Skips the rule unless the backend claims something. */
  final void requires(Capability capability) {
    assumeTrue(
        capabilities().contains(capability),
        () -> "backend %s does not claim %s".formatted(backend().name(), capability));
  }

  /** Skips the rule if the backend claims something. */
  final void requiresNo(Capability capability) {
    assumeTrue(
        !capabilities().contains(capability),
        () -> "backend %s claims %s".formatted(backend().name(), capability));
  }

  final WatchedKernel kernel() {
    return kernel;
  }

  /** A VM with private memory, on the host runtime; its calls are noted. */
  final KitVm vm() {
    requires(Capability.EXTERNAL_PAGE_TABLE);
    return anyVm();
  }

  /** The same of a backend with or without private memory. */
  final KitVm anyVm() {
    KitVm vm = watched(newVm(KitVm.newHost(kernel, Placement.SEQUENTIAL)));
    log(vm).take();
    return vm;
  }

  /** Has a VM's calls noted, and the VM closed after the rule. */
  final KitVm watched(KitVm vm) {
    vms.add(vm);
    vm.kvm()
        .watchOps(
            ops -> {
              OpLog log = newLog(ops, vm);
              logs.add(log);
              return judged().seenThroughKvm(vm, log);
            });
    return vm;
  }

  /** A log of a VM's calls. An op hangs if it alone takes half the time that a rule may take. */
  final OpLog newLog(KvmX86Ops ops, KitVm vm) {
    return new OpLog(ops, vm.mmu(), timeLimit().dividedBy(2));
  }

  /** The calls of a VM. */
  final OpLog log(KitVm vm) {
    return logs.stream().filter(log -> log.isOf(vm.kvm())).findFirst().orElseThrow();
  }

  /** Maps the 2M range at a gfn; skips the rule if that cannot be done. */
  final void assumeMapped(KitVm vm, int vcpu, long gfn) {
    FaultOutcome outcome = vm.fault(vcpu, gfn);
    NotJudged.unless(
        vm.levelOf(gfn) != PageLevel.NONE,
        "a fault at gfn 0x%x maps nothing (%s): see CAP.1".formatted(gfn, outcome));
  }

  /** Maps the 2M range at a gfn as one leaf; skips the rule if that cannot be done. */
  final void assumeHuge(KitVm vm, int vcpu, long gfn) {
    requires(Capability.HUGE_LEAFS);
    assumeMapped(vm, vcpu, gfn);
    NotJudged.unless(
        vm.levelOf(gfn) == PageLevel.LEVEL_2M,
        "gfn 0x%x is not mapped at 2M: see CAP.2".formatted(gfn));
  }

  /** Skips the rule if not even the simplest things leave a VM as it must be. */
  final void assumeBasics() {
    KitVm vm = vm();
    assumeSound(vm, "CAP.1, TABLE.1, TABLE.2, TABLE.6 and TABLE.8", () -> vm.fault(0, FIRST));
    NotJudged.unless(vm.levelOf(FIRST) != PageLevel.NONE, "a fault maps nothing: see CAP.1");
    assumeSound(
        vm,
        "TABLE.7",
        () -> {
          assumeOk("an attribute", vm.unmap(GfnRange.ofPages(FIRST, 512)));
          vm.fault(0, FIRST);
        });
    vm.fault(0, FIRST + 512);
    boolean splits = vm.levelOf(FIRST) == PageLevel.LEVEL_2M;
    NotJudged.unless(
        splits || !capabilities().contains(Capability.HUGE_LEAFS),
        "a fault maps no 2M leaf: see CAP.2");
    if (splits) {
      assumeSound(
          vm,
          "SPLIT.1 to SPLIT.4, SPLIT.7 and TABLE.8",
          () -> assumeOk("a split", vm.split(FIRST, LockMode.EXCLUSIVE)));
    }
    assumeSound(vm, "TABLE.3", () -> vm.convert(GfnRange.ofPages(FIRST + 1, 1), false));
    vm.convert(GfnRange.ofPages(FIRST + 1025, 1), false);
    assumeSound(vm, "TABLE.1", () -> vm.fault(0, FIRST + 1024));
    vm.closeOnce();
  }

  private static void assumeSound(KitVm vm, String rules, Runnable flow) {
    flow.run();
    List<String> violations = vm.violations();
    NotJudged.unless(
        violations.isEmpty(), () -> "see %s first: %s".formatted(rules, violations.get(0)));
  }

  /** Has every later call go through a watcher, which KVM meets first. */
  final void watch(KitVm vm, UnaryOperator<KvmX86Ops> watcher) {
    vm.kvm().watchOps(ops -> judged().seenThroughKvm(vm, watcher.apply(ops)));
  }

  /** Has the split of the leaf at a gfn refused; skips the rule if that cannot be done. */
  final void assumeRefused(KitVm vm, long gfn) {
    assumeTrue(
        refuseNextSplit(vm),
        "there is no way to have a split refused: KvmBackend.refuseNextSplit() is false");
    log(vm).take();
    vm.split(gfn, LockMode.EXCLUSIVE);
    List<Errno> statuses =
        log(vm).take().stream()
            .filter(call -> call.is("split_external_spte"))
            .map(OpCall::status)
            .toList();
    NotJudged.unless(
        !statuses.contains(Errno.EAGAIN),
        "the split was refused with EAGAIN, and KVM tried again: refuseNextSplit() is for EBUSY,"
            + " ENOMEM or EIO");
    NotJudged.unless(
        statuses.stream().anyMatch(Errno::isError),
        "no split_external_spte was refused after refuseNextSplit() returned true");
  }

  /** Skips the rule if something that it rests on did not work. */
  static void assumeOk(String what, Errno error) {
    NotJudged.unless(!error.isError(), what + " returned " + error);
  }

  /**
   * Plays a race of two or three threads: under every schedule if these are few enough, else under
   * many, those with one preemption first.
   *
   * @param race sets the race up, lets it run, and throws if it ended wrong
   */
  final void explore(Consumer<RaceHost> race) {
    Exploration exploration =
        Exploration.of(scheduled -> play(race, scheduled))
            .pagesAreAlike()
            .stopAtFirst()
            .mostSchedules(MOST_SCHEDULES);
    if (!goesOn(exploration.exhaustive()) || !goesOn(exploration.preemptionBounded(1))) {
      return;
    }
    goesOn(exploration.pct(1, 3));
  }

  /** Whether there are more schedules, and none of those so far ended wrong. */
  private boolean goesOn(ExplorationResult result) {
    NotJudged doubted = doubt;
    if (doubted != null) {
      throw doubted;
    }
    if (!result.isSound()) {
      throw new AssertionError(result.failures().get(0).toString());
    }
    explorations.add(result.toString());
    return !result.isComplete();
  }

  /** A race of the rule cannot be judged. */
  final void doubt(NotJudged why) {
    doubt = why;
  }

  /** How far the races of the rule were explored. */
  final List<String> explorations() {
    return List.copyOf(explorations);
  }

  private void play(Consumer<RaceHost> race, Kernel scheduled) {
    RaceHost host = new RaceHost(this, scheduled);
    try {
      race.accept(host);
    } finally {
      host.vms().stream()
          .filter(vm -> vm.breach() != null)
          .findFirst()
          .ifPresent(vm -> breachedRacer = vm);
    }
  }

  /** How one of the VMs was treated against the contract, or null. */
  final @Nullable String breachedRule() {
    if (isHanging()) {
      return "CALL.2";
    }
    KitVm breached = breachedVm();
    Breach breach = breached == null ? null : breached.breach();
    return breach == null ? null : Judge.ruleOf(breach.kind());
  }

  /** Whether an op has not returned. */
  final boolean isHanging() {
    return logs.stream().anyMatch(log -> log.hanging() != null);
  }

  private @Nullable KitVm breachedVm() {
    return breachedRacer != null
        ? breachedRacer
        : vms.stream().filter(vm -> vm.breach() != null).findFirst().orElse(null);
  }

  /** The same in words. */
  final String breachText() {
    for (OpLog log : logs) {
      if (log.hanging() != null) {
        return "backend %s: %s does not return".formatted(log.name(), log.hanging());
      }
    }
    KitVm breached = breachedVm();
    return breached == null ? "" : String.valueOf(breached.kvm().splat());
  }

  /**
   * Closes what the rule left open; what goes wrong there is the matter of other rules. Nothing is
   * closed after an op that hangs: it has locks.
   */
  @AfterEach
  final void closeAll() {
    if (isHanging()) {
      return;
    }
    for (KitVm vm : vms) {
      try {
        vm.closeOnce();
      } catch (RuntimeException | AssertionError e) {
        LOG.debug("while a VM of the kit was closed", e);
      }
    }
  }
}
