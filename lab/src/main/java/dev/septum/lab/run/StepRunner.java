package dev.septum.lab.run;

import com.google.common.collect.Range;
import com.google.common.collect.RangeSet;
import com.google.common.collect.TreeRangeSet;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.lab.scenario.ByteRange;
import dev.septum.lab.scenario.Expectation;
import dev.septum.lab.scenario.Injection;
import dev.septum.lab.scenario.Step;
import dev.septum.lab.scenario.VcpuName;
import dev.septum.lab.scenario.Verb;
import dev.septum.mmu.GuestMemfd;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxStatus;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** Does steps, and notes what they should not have come to. */
final class StepRunner {

  private final ScenarioHost host;
  private final ExpectationCheck expectations;
  private final Findings findings;

  StepRunner(ScenarioHost host, ExpectationCheck expectations, Findings findings) {
    this.host = host;
    this.expectations = expectations;
    this.findings = findings;
  }

  /**
   * Does one step and compares what it came to with what it should.
   *
   * @param at where the step is in the file
   */
  StepResult run(String at, Step step) {
    StepResult result = perform(at, step);
    if (!step.returns().accepts(host.backend(), result.code())) {
      findings.add(
          at,
          "%s, expected was %s%s"
              .formatted(
                  result.code(),
                  step.returns().text(host.backend()),
                  result.detail().isEmpty() ? "" : " (" + result.detail() + ")"));
    }
    return result;
  }

  /** Does one step, whatever it comes to. */
  StepResult perform(String at, Step step) {
    host.kernel().beginStep();
    try {
      return switch (step.verb().group()) {
        case GUEST -> step.vcpu() == null ? ofVmm(at, step) : ofGuest(step);
        case VMM -> ofVmm(at, step);
        case FILE -> ofFile(step);
        case HOST -> ofHost(at, step);
      };
    } catch (HookedKernel.EndlessRetry e) {
      return new StepResult("endless-retry", String.valueOf(e.getMessage()));
    }
  }

  private StepResult ofGuest(Step step) {
    VcpuName vcpu = given(VcpuName.parse(given(step.vcpu()), new HashSet<>(host.vmNames())));
    EmulatedVm vm = host.vm(vcpu.vm());
    if (vm.isDestroyed()) {
      return new StepResult(Errno.EBADF.name(), "the VM is destroyed");
    }
    if (step.verb() == Verb.PRE_FAULT) {
      return vm.preFault(vcpu.number(), given(step.preFault()));
    }
    Predicate<String> wanted =
        exit -> !exit.equals("OK") && step.returns().names(host.backend(), exit);
    return vm.access(vcpu.number(), step, wanted);
  }

  private StepResult ofVmm(String at, Step step) {
    EmulatedVm vm = host.vm(chosen(step.vm(), host.vmNames()));
    if (vm.isDestroyed()) {
      return new StepResult(Errno.EBADF.name(), "the VM is destroyed");
    }
    return switch (step.verb()) {
      case CONVERT -> StepResult.of(vm.convert(given(step.convert()), given(step.to())));
      case SET_ATTRIBUTES ->
          StepResult.of(vm.setAttributes(given(step.setAttributes()), given(step.to())));
      case ADD_SLOT -> StepResult.of(vm.addSlot(given(step.addSlot())));
      case DELETE_SLOT -> StepResult.of(vm.deleteSlot(given(step.deleteSlot())));
      case MOVE_SLOT ->
          StepResult.of(vm.moveSlot(given(step.moveSlot()), given(step.gpa()).value()));
      case SET_FLAGS -> StepResult.of(vm.setFlags(given(step.setFlags()), given(step.flags())));
      case GET_DIRTY_LOG -> dirty(at, step, vm.getDirtyLog(given(step.getDirtyLog())));
      case CLEAR_DIRTY_LOG ->
          StepResult.of(vm.clearDirtyLog(given(step.clearDirtyLog()), step.within()));
      case COLLECT_DIRTY_RINGS -> dirty(at, step, vm.collectDirtyRings());
      case SPLIT ->
          StepResult.of(
              vm.split(
                  given(step.split()),
                  step.lock() == Step.Lock.READ ? LockMode.SHARED : LockMode.EXCLUSIVE));
      case TOPUP_SPLIT_CACHE -> StepResult.of(vm.topupSplitCache());
      case DISCARD -> StepResult.of(vm.discard(given(step.discard())));
      case AGE -> StepResult.of(vm.age(given(step.age())));
      case DESTROY -> {
        vm.destroy();
        yield StepResult.OK;
      }
      default -> throw new IllegalArgumentException(step.verb().key() + " is no VMM's");
    };
  }

  private StepResult dirty(String at, Step step, EmulatedVm.Dirty log) {
    List<ByteRange> wanted = step.dirty();
    if (wanted != null && !log.error().isError()) {
      RangeSet<Long> frames = TreeRangeSet.create();
      wanted.forEach(
          range -> frames.add(Range.closedOpen(range.frames().start(), range.frames().end())));
      if (!frames.equals(log.frames())) {
        findings.add(
            at, "dirty is %s, expected was %s".formatted(text(log.frames()), text(frames)));
      }
    }
    return StepResult.of(log.error());
  }

  private static String text(RangeSet<Long> frames) {
    if (frames.isEmpty()) {
      return "nothing";
    }
    return String.join(
        ", ",
        frames.asRanges().stream()
            .map(r -> new ByteRange(r.lowerEndpoint() << 12, r.upperEndpoint() << 12).toString())
            .toList());
  }

  private StepResult ofFile(Step step) {
    GuestMemfd file = host.file(chosen(step.file(), host.fileNames()));
    if (step.verb() == Verb.PUNCH_HOLE) {
      ByteRange hole = given(step.punchHole());
      return StepResult.of(file.punchHole(hole.frames().start(), hole.frames().end()));
    }
    ByteRange range = given(step.allocate());
    for (long index = range.frames().start(); index < range.frames().end(); index++) {
      Errno error = file.allocate(index);
      if (error.isError()) {
        return StepResult.of(error);
      }
    }
    return StepResult.OK;
  }

  private StepResult ofHost(String at, Step step) {
    return switch (step.verb()) {
      case SET_PARAMETERS -> setParameters(given(step.setParameters()));
      case RECOVER_NX_HUGE_PAGES -> {
        host.module().recoverNxHugePages();
        yield StepResult.OK;
      }
      case INJECT -> {
        inject(at + "/inject/steps", given(step.inject()));
        yield StepResult.OK;
      }
      case STOP_INJECTING -> {
        host.stopInjecting();
        yield StepResult.OK;
      }
      case EXPECT -> {
        Expectation expectation = given(step.expect());
        expectations.check(at + "/expect", expectation);
        yield StepResult.OK;
      }
      default -> throw new IllegalArgumentException(step.verb().key() + " is not the host's");
    };
  }

  private StepResult setParameters(Map<String, String> parameters) {
    for (Map.Entry<String, String> parameter : parameters.entrySet()) {
      Errno error = host.module().setParameter(parameter.getKey(), parameter.getValue());
      if (error.isError()) {
        return StepResult.of(error);
      }
    }
    return StepResult.OK;
  }

  private void inject(String at, Injection injection) {
    int next = injection.next();
    int times = injection.times();
    SeamcallLeaf leaf = injection.seamcall();
    String place = injection.allocation();
    Injection.LockName lock = injection.before();
    if (lock != null) {
      List<Step> steps = injection.steps() == null ? List.of() : injection.steps();
      host.kernel()
          .before(
              lock.lockClass(),
              next,
              times,
              () -> host.kernel().spawn("other", () -> runAll(at, steps)).join());
      return;
    }
    for (int i = 0; i < times; i++) {
      if (place != null) {
        host.pages().faults().failNext(place, next + i);
      } else if (leaf != null && injection.interrupted()) {
        host.tdx().module().injector().on(leaf).next(next + i).interrupt();
      } else if (leaf != null) {
        String name = injection.status() == null ? "TDX_OPERAND_BUSY" : injection.status();
        host.tdx()
            .module()
            .injector()
            .on(leaf)
            .next(next + i)
            .fail(TdxStatus.named(name).orElseThrow());
      }
    }
  }

  private void runAll(String at, List<Step> steps) {
    for (int i = 0; i < steps.size(); i++) {
      run(at + "/" + i, steps.get(i));
    }
  }

  private static String chosen(@Nullable String name, List<String> names) {
    return name == null ? names.get(0) : name;
  }

  /** A value that the check of the scenario has made sure of. */
  private static <T> T given(@Nullable T value) {
    return Optional.ofNullable(value).orElseThrow();
  }
}
