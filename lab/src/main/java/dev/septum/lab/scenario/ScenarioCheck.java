package dev.septum.lab.scenario;

import dev.septum.kvm.VmType;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Whether a scenario makes sense: every name means something, every step is one that its subject
 * can do. Nothing of the scenario has run then.
 */
final class ScenarioCheck {

  /** Where the guest's code is, in every VM. */
  private static final ByteRange CODE = new ByteRange((4L << 30) - (64L << 10), 4L << 30);

  private static final long PAGE_2M = 2L << 20;
  private static final int MAX_VCPUS = 64;
  private static final int MAX_SLOT = 32763;
  private static final int MAX_REPEAT = 1_000_000;
  private static final long MAX_HOST_MEMORY = 1L << 42;

  private final Scenario scenario;
  private final Refusals refusals;
  private final StepCheck steps;
  private final ExpectationsCheck expectations;

  /** Of a file that may name these backends. */
  ScenarioCheck(ScenarioFile file, Set<String> backends) {
    this.scenario = file.scenario();
    this.refusals = new Refusals(file);
    this.expectations = new ExpectationsCheck(scenario, refusals, backends);
    this.steps = new StepCheck(scenario, refusals, expectations, backends);
  }

  void run() throws ScenarioException {
    expectations.checkBackends("/backends", scenario.backends());
    refusals.require(!scenario.backends().isEmpty(), "/backends", "at least one backend is needed");
    long memory = scenario.host().memory().value();
    refusals.require(
        memory > 0 && memory % PAGE_2M == 0 && memory <= MAX_HOST_MEMORY,
        "/host/memory",
        "%s is not accepted; accepted: a multiple of 2M up to 4T",
        scenario.host().memory());
    for (Map.Entry<String, FileSetup> entry : scenario.files().entrySet()) {
      checkFile("/files/" + entry.getKey(), entry.getKey(), entry.getValue());
    }
    refusals.require(!scenario.vms().isEmpty(), "/vms", "at least one VM is needed");
    for (Map.Entry<String, VmSetup> entry : scenario.vms().entrySet()) {
      checkVm("/vms/" + entry.getKey(), entry.getKey(), entry.getValue());
    }
    refusals.require(!scenario.phases().isEmpty(), "/phases", "at least one phase is needed");
    for (int i = 0; i < scenario.phases().size(); i++) {
      checkPhase("/phases/" + i, scenario.phases().get(i));
    }
  }

  private void checkFile(String at, String name, FileSetup file) throws ScenarioException {
    refusals.requirePlainName(at, name);
    refusals.requirePages(at + "/size", file.size());
    refusals.require(file.size().value() > 0, at + "/size", "a file needs at least one page");
    refusals.require(
        file.folios() != Level.SIZE_1G, at + "/folios", "1G is not accepted; accepted: 4K, 2M");
  }

  private void checkVm(String at, String name, VmSetup vm) throws ScenarioException {
    refusals.requirePlainName(at, name);
    refusals.requireBetween(at + "/vcpus", vm.vcpus(), 1, MAX_VCPUS);
    int levels = vm.levels();
    refusals.require(
        levels == 4 || levels == 5, at + "/levels", "%s is not accepted; accepted: 4, 5", levels);
    checkKeysOfType(at, vm);
    refusals.requirePages(at + "/map-gpa-piece", vm.mapGpaPiece());
    refusals.require(
        vm.mapGpaPiece().value() > 0, at + "/map-gpa-piece", "a piece needs at least one page");
    for (int i = 0; i < vm.slots().size(); i++) {
      SlotSetup slot = vm.slots().get(i);
      checkSlot(at + "/slots/" + i, vm, slot);
      for (SlotSetup other : vm.slots().subList(0, i)) {
        refusals.require(
            slot.id() != other.id(),
            at + "/slots/" + i + "/slot",
            "there is a slot %s already",
            slot.slot());
        refusals.require(
            !slot.addressSpace().equals(other.addressSpace())
                || !overlap(slot.range(), other.range()),
            at + "/slots/" + i,
            "slot %s overlaps slot %s",
            slot.slot(),
            other.slot());
      }
    }
  }

  /** Keys that say nothing about VMs of this type. */
  private void checkKeysOfType(String at, VmSetup vm) throws ScenarioException {
    if (vm.type() == VmSetup.TypeName.TDX) {
      refusals.require(
          vm.dirtyRing() == null && vm.manualDirtyLogProtect() == null,
          at,
          "a TD has no dirty log");
      refusals.require(vm.format() == VmSetup.FormatName.EPT, at + "/format", "a TD has ept");
      refusals.require(!vm.zapSlotOnly(), at + "/zap-slot-only", "a TD always zaps one slot only");
      return;
    }
    refusals.require(
        vm.septVeDisable() && vm.mapGpaPiece().value() == PAGE_2M,
        at,
        "sept-ve-disable and map-gpa-piece are for TDs");
  }

  private static boolean overlap(ByteRange one, ByteRange other) {
    return one.start() < other.end() && other.start() < one.end();
  }

  /** A slot that is there from the beginning must be one that KVM takes. */
  private void checkSlot(String at, VmSetup vm, SlotSetup slot) throws ScenarioException {
    int number = slot.slot();
    refusals.require(
        number >= 1 && number <= MAX_SLOT,
        at + "/slot",
        "%s is not accepted; accepted: 1 to %s (slot 0 holds the guest's code)",
        number,
        MAX_SLOT);
    steps.checkSlot(at, vm.type(), slot);
    refusals.requirePages(at + "/gpa", slot.gpa());
    refusals.requirePages(at + "/size", slot.size());
    refusals.requirePages(at + "/offset", slot.offset());
    refusals.require(
        slot.addressSpace() != 0 || !overlap(slot.range(), CODE),
        at,
        "slot %s overlaps the guest's code at %s",
        number,
        CODE);
    FileSetup file = slot.file() == null ? null : scenario.files().get(slot.file());
    if (file != null) {
      refusals.require(
          slot.offset().value() + slot.size().value() <= file.size().value(),
          at,
          "slot %s ends at %s of file %s, which has %s",
          number,
          new Bytes(slot.offset().value() + slot.size().value()),
          slot.file(),
          file.size());
      refusals.require(
          vm.type().type() != VmType.DEFAULT,
          at + "/file",
          "VMs of type default have no private memory");
      refusals.require(slot.flags().isEmpty(), at + "/flags", "a slot with a file takes no flags");
    }
  }

  private void checkPhase(String at, Phase phase) throws ScenarioException {
    List<Step> sequence = phase.steps();
    Map<String, List<Step>> actors = phase.concurrently();
    refusals.require(
        (sequence == null) != (actors == null),
        at,
        "a phase has either steps or concurrently, and not both");
    refusals.requireBetween(at + "/repeat", phase.repeat(), 1, MAX_REPEAT);
    if (sequence != null) {
      steps.check(at + "/steps", sequence);
    }
    if (actors != null) {
      checkActors(at + "/concurrently", actors);
    }
    for (int i = 0; i < phase.expect().size(); i++) {
      expectations.check(at + "/expect/" + i, phase.expect().get(i));
    }
  }

  private void checkActors(String at, Map<String, List<Step>> actors) throws ScenarioException {
    refusals.require(!actors.isEmpty(), at, "at least one actor is needed");
    for (Map.Entry<String, List<Step>> actor : actors.entrySet()) {
      refusals.requirePlainName(at + "/" + actor.getKey(), actor.getKey());
      steps.check(at + "/" + actor.getKey(), actor.getValue());
      checkMeanwhile(at + "/" + actor.getKey(), actor.getValue());
    }
  }

  /** What can't be done while other actors are at work. */
  private void checkMeanwhile(String at, List<Step> sequence) throws ScenarioException {
    for (int i = 0; i < sequence.size(); i++) {
      Step step = sequence.get(i);
      Verb verb = step.verb();
      refusals.require(
          verb != Verb.EXPECT && verb != Verb.DESTROY,
          at + "/" + i,
          "%s is not for actors: others may be at work; put it into a phase of its own",
          verb.key());
      if (step.steps() != null) {
        checkMeanwhile(at + "/" + i + "/steps", step.steps());
      }
    }
  }
}
