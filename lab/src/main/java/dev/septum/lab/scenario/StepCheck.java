package dev.septum.lab.scenario;

import dev.septum.kvm.VmType;
import dev.septum.tdx.module.TdxStatus;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Whether steps make sense. */
final class StepCheck {

  private static final int MAX_REPEAT = 1_000_000;
  private static final int MAX_SLOT = 65535;

  private final Scenario scenario;
  private final Refusals refusals;
  private final ExpectationsCheck expectations;
  private final Set<String> backends;

  StepCheck(
      Scenario scenario, Refusals refusals, ExpectationsCheck expectations, Set<String> backends) {
    this.scenario = scenario;
    this.refusals = refusals;
    this.expectations = expectations;
    this.backends = backends;
  }

  void check(String at, List<Step> steps) throws ScenarioException {
    for (int i = 0; i < steps.size(); i++) {
      check(at + "/" + i, steps.get(i));
    }
  }

  private void check(String at, Step step) throws ScenarioException {
    List<Verb> verbs = step.verbs();
    refusals.require(
        !verbs.isEmpty(),
        at,
        "the step does nothing; it needs one of: %s",
        String.join(", ", Verb.ALL.stream().map(Verb::key).toList()));
    refusals.require(
        verbs.size() == 1,
        at,
        "the step does several things (%s): make each a step of its own",
        String.join(", ", verbs.stream().map(Verb::key).toList()));
    Verb verb = verbs.get(0);
    checkModifiers(at, step, verb);
    refusals.requireBetween(at + "/repeat", step.repeat(), 1, MAX_REPEAT);
    for (String backend : step.returns().byBackend().keySet()) {
      if (!backend.equals(Returns.EVERY)) {
        refusals.requireName(at + "/returns", "backend", backend, backends);
      }
    }
    checkSubject(at, step, verb);
    checkPages(at, step);
    checkValue(at, step);
  }

  private void checkModifiers(String at, Step step, Verb verb) throws ScenarioException {
    for (Map.Entry<String, Verb.Part> modifier : Verb.MODIFIERS.entrySet()) {
      boolean isGiven = modifier.getValue().of(step) != null;
      boolean fits = verb.modifiers().contains(modifier.getKey());
      refusals.require(
          fits || !isGiven,
          at + "/" + modifier.getKey(),
          "%s says nothing about %s; accepted beside it: %s",
          modifier.getKey(),
          verb.key(),
          verb.modifiers().isEmpty() ? "nothing" : String.join(", ", verb.modifiers()));
      refusals.require(
          isGiven || !fits || !Verb.isNeeded(modifier.getKey()),
          at,
          "%s needs %s",
          verb.key(),
          modifier.getKey());
    }
  }

  private void checkSubject(String at, Step step, Verb verb) throws ScenarioException {
    Verb.Subject subject = verb.subject();
    refusals.require(
        step.vcpu() == null || subject.takesVcpu(),
        at + "/vcpu",
        "%s is nothing that a vCPU does",
        verb.key());
    refusals.require(
        step.vm() == null || (subject.takesVm() && step.vcpu() == null),
        at + "/vm",
        "%s takes no vm",
        step.vcpu() == null ? verb.key() : "a step with vcpu");
    refusals.require(
        step.file() == null || subject == Verb.Subject.FILE,
        at + "/file",
        "%s takes no file",
        verb.key());
    if (subject == Verb.Subject.FILE) {
      refusals.requireChoice(at, "file", step.file(), scenario.files().keySet());
      return;
    }
    if (subject == Verb.Subject.NOBODY) {
      return;
    }
    boolean asGuest = subject.takesVcpu() && (!subject.takesVm() || step.vcpu() != null);
    String name =
        asGuest
            ? checkVcpu(at, step)
            : refusals.requireChoice(at, "vm", step.vm(), scenario.vms().keySet());
    VmSetup vm = vm(name);
    refusals.require(
        subject.suits(vm.type().type(), asGuest),
        at + "/" + verb.key(),
        "%s is not for VMs of type %s",
        verb.key(),
        text(vm.type()));
    refusals.require(
        step.as() == null || vm.type() == VmSetup.TypeName.TDX,
        at + "/as",
        "only the guest of a TD chooses; elsewhere memory is what its attributes say");
    checkAddressSpace(at + "/address-space", vm.type(), step.addressSpace());
    checkAddressSpace(at + "/smm", vm.type(), Boolean.TRUE.equals(step.smm()) ? 1 : 0);
    List<SlotSetup> slots = step.addSlot();
    if (slots != null) {
      for (int i = 0; i < slots.size(); i++) {
        checkNewSlot(at + "/add-slot/" + i, vm.type(), slots.get(i));
      }
    }
  }

  /** The VM of a step's vCPU. */
  private String checkVcpu(String at, Step step) throws ScenarioException {
    String vcpu = step.vcpu();
    refusals.require(vcpu != null, at, "%s needs a vcpu", step.verb().key());
    VcpuName name = VcpuName.parse(String.valueOf(vcpu), scenario.vms().keySet());
    if (name == null) {
      throw refusals.error(
          at + "/vcpu",
          "\"%s\" is no vCPU; accepted: VM/NUMBER with a VM of %s%s",
          vcpu,
          String.join(", ", scenario.vms().keySet()),
          scenario.vms().size() == 1 ? ", or the number alone" : "");
    }
    int count = vm(name.vm()).vcpus();
    refusals.require(
        name.number() < count,
        at + "/vcpu",
        "VM %s has no vCPU %s; it has 0 to %s",
        name.vm(),
        name.number(),
        count - 1);
    return name.vm();
  }

  /** A slot that KVM may take or refuse: its numbers are KVM's to judge. */
  private void checkNewSlot(String at, VmSetup.TypeName type, SlotSetup slot)
      throws ScenarioException {
    refusals.requireBetween(at + "/slot", slot.slot(), 1, MAX_SLOT);
    checkSlot(at, type, slot);
  }

  /** What can be said of a slot at all. */
  void checkSlot(String at, VmSetup.TypeName type, SlotSetup slot) throws ScenarioException {
    refusals.require(slot.size().value() > 0, at + "/size", "a slot needs at least one page");
    checkAddressSpace(at + "/address-space", type, slot.addressSpace());
    if (slot.file() != null) {
      refusals.requireName(at + "/file", "file", slot.file(), scenario.files().keySet());
    }
    boolean isReserved = slot.backing() != Level.SIZE_4K;
    refusals.require(
        !isReserved || type != VmSetup.TypeName.TDX,
        at + "/backing",
        "the shared memory of a TD is in pages of 4K");
    refusals.requirePages(at + "/hva", slot.hva());
    refusals.require(
        slot.hva() == null || !isReserved, at + "/hva", "hva is for memory of single pages");
    refusals.require(
        !isReserved
            || (slot.gpa().value() | slot.size().value())
                    % (slot.backing().pageLevel().pages() << 12)
                == 0,
        at + "/backing",
        "a slot with pages of %s begins and ends at a multiple of it",
        slot.backing());
  }

  private void checkAddressSpace(String at, VmSetup.TypeName type, @Nullable Integer addressSpace)
      throws ScenarioException {
    if (addressSpace != null) {
      refusals.requireBetween(at, addressSpace, 0, 1);
      refusals.require(
          addressSpace == 0 || type.type() == VmType.DEFAULT,
          at,
          "only VMs of type default have a second address space");
    }
  }

  /** Ranges that have to be pages. What ioctls get as it is, is KVM's to refuse. */
  private void checkPages(String at, Step step) throws ScenarioException {
    refusals.requirePages(at + "/accept", step.accept());
    refusals.requirePages(at + "/read", step.read());
    refusals.requirePages(at + "/write", step.write());
    refusals.requirePages(at + "/execute", step.execute());
    refusals.requirePages(at + "/convert", step.convert());
    refusals.requirePages(at + "/convert-file", step.convertFile());
    refusals.requirePages(at + "/split", step.split());
    refusals.requirePages(at + "/discard", step.discard());
    refusals.requirePages(at + "/age", step.age());
    refusals.requirePages(at + "/within", step.within());
    refusals.requirePages(at + "/dirty", step.dirty());
    refusals.requirePages(at + "/exit-range", step.exitRange());
    refusals.requirePages(at + "/every", step.every());
  }

  private void checkValue(String at, Step step) throws ScenarioException {
    String key = step.verb().key();
    refusals.require(
        !Boolean.FALSE.equals(step.verb().of(step)),
        at + "/" + key,
        "false is not accepted; accepted: true, or no such step");
    refusals.require(
        step.at() != Level.SIZE_1G, at + "/at", "1G is not accepted; accepted: 4K, 2M");
    refusals.require(
        step.every() == null || step.every().value() > 0, at + "/every", "0 is not accepted");
    if (step.inject() != null) {
      checkInjection(at + "/inject", step.inject());
    }
    if (step.expect() != null) {
      expectations.check(at + "/expect", step.expect());
    }
    if (step.steps() != null) {
      check(at + "/steps", step.steps());
    }
  }

  private void checkInjection(String at, Injection injection) throws ScenarioException {
    int kinds =
        (injection.allocation() == null ? 0 : 1)
            + (injection.seamcall() == null ? 0 : 1)
            + (injection.before() == null ? 0 : 1);
    refusals.require(kinds == 1, at, "an injection has one of allocation, seamcall, before");
    if (injection.allocation() != null) {
      refusals.requireName(
          at + "/allocation", "allocation", injection.allocation(), Counters.ALLOCATIONS);
    }
    checkStatus(at, injection);
    List<Step> steps = injection.steps();
    refusals.require(
        (steps == null) == (injection.before() == null),
        at,
        "before has steps, and nothing else has");
    if (steps != null) {
      check(at + "/steps", steps);
    }
    refusals.requireBetween(at + "/next", injection.next(), 1, MAX_REPEAT);
    refusals.requireBetween(at + "/times", injection.times(), 1, MAX_REPEAT);
  }

  private void checkStatus(String at, Injection injection) throws ScenarioException {
    refusals.require(
        !injection.interrupted() || (injection.seamcall() != null && injection.status() == null),
        at + "/interrupted",
        "only a seamcall without a status is interrupted");
    if (injection.status() != null) {
      refusals.require(
          injection.seamcall() != null, at + "/status", "only a seamcall has a status");
      refusals.require(
          TdxStatus.named(injection.status()).isPresent(),
          at + "/status",
          "\"%s\" is no status of the module; accepted: names such as TDX_OPERAND_BUSY",
          injection.status());
    }
  }

  private VmSetup vm(String name) {
    return Optional.ofNullable(scenario.vms().get(name)).orElseThrow();
  }

  private static String text(VmSetup.TypeName type) {
    return type.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
