package dev.septum.lab.scenario;

import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Sets;
import com.google.errorprone.annotations.FormatMethod;
import com.google.errorprone.annotations.FormatString;
import dev.septum.kvm.KvmBackends;
import dev.septum.kvm.VmType;
import dev.septum.tdx.TdBackend;
import dev.septum.tdx.module.TdxStatus;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Whether a scenario makes sense: every name means something, every step is one that its subject
 * can do. Nothing of the scenario has run then.
 */
final class ScenarioCheck {

  private static final long PAGE_2M = 2L << 20;
  private static final int MAX_VCPUS = 64;
  private static final int MAX_SLOT = 32763;
  private static final long MAX_HOST_MEMORY = 1L << 42;

  private final ScenarioFile file;
  private final Scenario scenario;
  private final Set<String> backends;

  ScenarioCheck(ScenarioFile file) {
    this.file = file;
    this.scenario = file.scenario();
    this.backends =
        Sets.filter(
            KvmBackends.all().keySet(), name -> KvmBackends.named(name) instanceof TdBackend);
  }

  void run() throws ScenarioException {
    checkBackends("/backends", scenario.backends());
    require(!scenario.backends().isEmpty(), "/backends", "at least one backend is needed");
    long memory = scenario.host().memory().value();
    require(
        memory > 0 && memory % PAGE_2M == 0 && memory <= MAX_HOST_MEMORY,
        "/host/memory",
        "%s is not accepted; accepted: a multiple of 2M up to 4T",
        scenario.host().memory());
    for (Map.Entry<String, FileSetup> entry : scenario.files().entrySet()) {
      require(
          entry.getValue().size().value() > 0,
          "/files/" + entry.getKey() + "/size",
          "a file needs at least one page");
      require(
          entry.getValue().folios() != Level.SIZE_1G,
          "/files/" + entry.getKey() + "/folios",
          "1G is not accepted; accepted: 4K, 2M");
    }
    require(!scenario.vms().isEmpty(), "/vms", "at least one VM is needed");
    for (Map.Entry<String, VmSetup> entry : scenario.vms().entrySet()) {
      checkVm("/vms/" + entry.getKey(), entry.getValue());
    }
    require(!scenario.phases().isEmpty(), "/phases", "at least one phase is needed");
    for (int i = 0; i < scenario.phases().size(); i++) {
      checkPhase("/phases/" + i, scenario.phases().get(i));
    }
  }

  private void checkVm(String at, VmSetup vm) throws ScenarioException {
    int vcpus = vm.vcpus();
    require(
        vcpus >= 1 && vcpus <= MAX_VCPUS,
        at + "/vcpus",
        "%s is not accepted; accepted: 1 to %s",
        vcpus,
        MAX_VCPUS);
    int levels = vm.levels();
    require(
        levels == 4 || levels == 5, at + "/levels", "%s is not accepted; accepted: 4, 5", levels);
    boolean isTd = vm.type() == VmSetup.TypeName.TDX;
    require(
        !isTd || (vm.dirtyRing() == null && vm.manualDirtyLogProtect() == null),
        at,
        "a TD has no dirty log");
    for (int i = 0; i < vm.slots().size(); i++) {
      SlotSetup slot = vm.slots().get(i);
      checkSlot(at + "/slots/" + i, slot);
      for (SlotSetup other : vm.slots().subList(0, i)) {
        require(
            slot.range().end() <= other.range().start()
                || slot.range().start() >= other.range().end(),
            at + "/slots/" + i,
            "slot %s overlaps slot %s",
            slot.slot(),
            other.slot());
        require(
            !slot.slot().equals(other.slot()),
            at + "/slots/" + i + "/slot",
            "there is a slot %s already",
            slot.slot());
      }
    }
  }

  private void checkSlot(String at, SlotSetup slot) throws ScenarioException {
    int number = slot.slot();
    require(
        number >= 1 && number <= MAX_SLOT,
        at + "/slot",
        "%s is not accepted; accepted: 1 to %s (slot 0 holds the guest's code)",
        number,
        MAX_SLOT);
    require(slot.size().value() > 0, at + "/size", "a slot needs at least one page");
    if (slot.file() != null) {
      requireName(at + "/file", "file", slot.file(), scenario.files().keySet());
    }
  }

  private void checkPhase(String at, Phase phase) throws ScenarioException {
    List<Step> steps = phase.steps();
    Map<String, List<Step>> actors = phase.concurrently();
    require(
        (steps == null) != (actors == null),
        at,
        "a phase has either steps or concurrently, and not both");
    int repeat = phase.repeat();
    require(
        repeat >= 1 && repeat <= 1_000_000,
        at + "/repeat",
        "%s is not accepted; accepted: 1 to 1000000",
        repeat);
    if (steps != null) {
      checkSteps(at + "/steps", steps);
    }
    if (actors != null) {
      for (Map.Entry<String, List<Step>> actor : actors.entrySet()) {
        checkSteps(at + "/concurrently/" + actor.getKey(), actor.getValue());
      }
    }
    for (int i = 0; i < phase.expect().size(); i++) {
      checkExpectation(at + "/expect/" + i, phase.expect().get(i));
    }
  }

  private void checkSteps(String at, List<Step> steps) throws ScenarioException {
    for (int i = 0; i < steps.size(); i++) {
      checkStep(at + "/" + i, steps.get(i));
    }
  }

  private void checkStep(String at, Step step) throws ScenarioException {
    List<Verb> verbs = step.verbs();
    require(
        !verbs.isEmpty(),
        at,
        "the step does nothing; it needs one of: %s",
        String.join(", ", Verb.ALL.stream().map(Verb::key).toList()));
    require(
        verbs.size() == 1,
        at,
        "the step does several things (%s): make each a step of its own",
        String.join(", ", verbs.stream().map(Verb::key).toList()));
    Verb verb = verbs.get(0);
    for (Map.Entry<String, Verb.Part> modifier : Verb.MODIFIERS.entrySet()) {
      boolean isGiven = modifier.getValue().of(step) != null;
      boolean fits = verb.modifiers().contains(modifier.getKey());
      require(
          fits || !isGiven,
          at + "/" + modifier.getKey(),
          "%s says nothing about %s; accepted beside it: %s",
          modifier.getKey(),
          verb.key(),
          verb.modifiers().isEmpty() ? "nothing" : String.join(", ", verb.modifiers()));
      require(
          isGiven || !fits || !Verb.isNeeded(modifier.getKey()),
          at,
          "%s needs %s",
          verb.key(),
          modifier.getKey());
    }
    for (String backend : step.returns().byBackend().keySet()) {
      if (!backend.equals(Returns.EVERY)) {
        requireName(at + "/returns", "backend", backend, backends);
      }
    }
    checkSubject(at, step, verb);
    checkValue(at, step, verb);
  }

  private void checkSubject(String at, Step step, Verb verb) throws ScenarioException {
    Verb.Subject subject = verb.subject();
    require(
        step.vcpu() == null || subject.takesVcpu(),
        at + "/vcpu",
        "%s is nothing that a vCPU does",
        verb.key());
    require(
        step.vm() == null || (subject.takesVm() && step.vcpu() == null),
        at + "/vm",
        "%s takes no vm",
        step.vcpu() == null ? verb.key() : "a step with vcpu");
    require(
        step.file() == null || subject == Verb.Subject.FILE,
        at + "/file",
        "%s takes no file",
        verb.key());
    if (subject == Verb.Subject.FILE) {
      checkChoice(at, "file", step.file(), scenario.files().keySet());
      return;
    }
    if (subject == Verb.Subject.NOBODY) {
      return;
    }
    boolean asGuest = subject.takesVcpu() && (!subject.takesVm() || step.vcpu() != null);
    String vm =
        asGuest ? checkVcpu(at, step) : checkChoice(at, "vm", step.vm(), scenario.vms().keySet());
    VmType type = vm(vm).type().type();
    require(
        subject.suits(type, asGuest),
        at + "/" + verb.key(),
        "%s is not for VMs of type %s",
        verb.key(),
        vm(vm).type().name().toLowerCase(java.util.Locale.ROOT).replace('_', '-'));
  }

  /** The VM of a step's vCPU. */
  private String checkVcpu(String at, Step step) throws ScenarioException {
    String vcpu = step.vcpu();
    require(vcpu != null, at, "%s needs a vcpu", step.verb().key());
    VcpuName name = VcpuName.parse(String.valueOf(vcpu), scenario.vms().keySet());
    if (name == null) {
      throw error(
          at + "/vcpu",
          "\"%s\" is no vCPU; accepted: VM/NUMBER with a VM of %s%s",
          vcpu,
          String.join(", ", scenario.vms().keySet()),
          scenario.vms().size() == 1 ? ", or the number alone" : "");
    }
    int count = vm(name.vm()).vcpus();
    require(
        name.number() < count,
        at + "/vcpu",
        "VM %s has no vCPU %s; it has 0 to %s",
        name.vm(),
        name.number(),
        count - 1);
    return name.vm();
  }

  private void checkValue(String at, Step step, Verb verb) throws ScenarioException {
    if (step.at() != null) {
      require(step.at() != Level.SIZE_1G, at + "/at", "1G is not accepted; accepted: 4K, 2M");
    }
    if (step.every() != null) {
      require(step.every().value() > 0, at + "/every", "0 is not accepted");
    }
    switch (verb) {
      case ADD_SLOT -> {
        SlotSetup slot = step.addSlot();
        if (slot != null) {
          checkSlot(at + "/add-slot", slot);
        }
      }
      case INJECT -> {
        Injection injection = step.inject();
        if (injection != null) {
          checkInjection(at + "/inject", injection);
        }
      }
      case EXPECT -> {
        Expectation expectation = step.expect();
        if (expectation != null) {
          checkExpectation(at + "/expect", expectation);
        }
      }
      default -> {}
    }
  }

  private void checkInjection(String at, Injection injection) throws ScenarioException {
    int kinds =
        (injection.allocation() == null ? 0 : 1)
            + (injection.seamcall() == null ? 0 : 1)
            + (injection.before() == null ? 0 : 1);
    require(kinds == 1, at, "an injection has one of allocation, seamcall, before");
    if (injection.allocation() != null) {
      requireName(at + "/allocation", "allocation", injection.allocation(), Counters.ALLOCATIONS);
    }
    if (injection.status() != null) {
      require(injection.seamcall() != null, at + "/status", "only a seamcall has a status");
      require(
          TdxStatus.named(injection.status()).isPresent(),
          at + "/status",
          "\"%s\" is no status of the module; accepted: names such as TDX_OPERAND_BUSY",
          injection.status());
    }
    List<Step> steps = injection.steps();
    require(
        (steps == null) == (injection.before() == null),
        at,
        "before has steps, and nothing else has");
    if (steps != null) {
      checkSteps(at + "/steps", steps);
    }
    require(
        injection.next() >= 1,
        at + "/next",
        "%s is not accepted; accepted: 1 (the next one) or more",
        injection.next());
    require(
        injection.times() >= 1,
        at + "/times",
        "%s is not accepted; accepted: 1 or more",
        injection.times());
  }

  private void checkExpectation(String at, Expectation expectation) throws ScenarioException {
    checkBackends(at + "/backends", expectation.backends());
    Set<String> names = ImmutableSet.copyOf(Sets.union(Counters.OF_VMS, Counters.OF_THE_HOST));
    if (isAboutVm(expectation)) {
      String vm = checkChoice(at, "vm", expectation.vm(), scenario.vms().keySet());
      boolean isTd = vm(vm).type() == VmSetup.TypeName.TDX;
      names = isTd ? Sets.union(names, Counters.OF_TDS) : names;
      for (Map<ByteRange, Mapped> mapped :
          List.of(expectation.privateMemory(), expectation.sharedMemory())) {
        for (Map.Entry<ByteRange, Mapped> entry : mapped.entrySet()) {
          require(
              entry.getValue().isPending() == null
                  || (isTd && mapped == expectation.privateMemory()),
              at,
              "\"%s\": pending and accepted are states of a TD's private memory",
              entry.getValue());
        }
      }
    }
    for (String place : List.of("stats", "growth")) {
      Map<String, Amount> wanted =
          place.equals("stats") ? expectation.stats() : expectation.growth();
      for (String name : wanted.keySet()) {
        requireName(at + "/" + place + "/" + name, "counter", name, names);
      }
    }
    for (String owner : expectation.pages().keySet()) {
      requireName(at + "/pages/" + owner, "owner", owner, Counters.OWNERS);
    }
  }

  private static boolean isAboutVm(Expectation e) {
    return e.vm() != null
        || e.bugged() != null
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

  /** A name that may be left out if there is only one. */
  private String checkChoice(String at, String key, @Nullable String name, Set<String> names)
      throws ScenarioException {
    if (name != null) {
      requireName(at + "/" + key, key, name, names);
      return name;
    }
    require(!names.isEmpty(), at, "the scenario has no %s", key);
    require(
        names.size() == 1, at, "%s is needed here; accepted: %s", key, String.join(", ", names));
    return names.iterator().next();
  }

  private void checkBackends(String at, Collection<String> named) throws ScenarioException {
    for (String backend : named) {
      requireName(at, "backend", backend, backends);
    }
  }

  private void requireName(String at, String what, String name, Collection<String> names)
      throws ScenarioException {
    require(
        names.contains(name),
        at,
        "there is no %s \"%s\"; accepted: %s",
        what,
        name,
        names.isEmpty() ? "none, the scenario has none" : String.join(", ", names));
  }

  @FormatMethod
  private void require(
      boolean condition, String at, @FormatString String format, @Nullable Object... arguments)
      throws ScenarioException {
    if (!condition) {
      throw error(at, format, arguments);
    }
  }

  @FormatMethod
  private ScenarioException error(
      String at, @FormatString String format, @Nullable Object... arguments) {
    return new ScenarioException(
        "%s:%d: %s: %s"
            .formatted(
                file.name(),
                file.lineOf(at),
                at.substring(1).replaceAll("/(\\d+)", "[$1]").replace('/', '.'),
                format.formatted(arguments)));
  }
}
