package dev.septum.lab.run;

import com.google.common.collect.Range;
import com.google.common.collect.RangeSet;
import com.google.common.collect.TreeRangeSet;
import com.google.common.util.concurrent.Uninterruptibles;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.lab.scenario.ByteRange;
import dev.septum.lab.scenario.Bytes;
import dev.septum.lab.scenario.Expectation;
import dev.septum.lab.scenario.Injection;
import dev.septum.lab.scenario.Kind;
import dev.septum.lab.scenario.Returns;
import dev.septum.lab.scenario.SlotSetup;
import dev.septum.lab.scenario.Step;
import dev.septum.lab.scenario.VcpuName;
import dev.septum.lab.scenario.Verb;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.PreFault;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxStatus;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.function.BiFunction;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** Does steps, and notes what they should not have come to. */
final class StepRunner {

  /** How long a thread stands still for another one that may need its locks. */
  private static final Duration PATIENCE = Duration.ofSeconds(1);

  private final ScenarioHost host;
  private final ExpectationCheck expectations;
  private final Findings findings;

  /** {@code vcpu->mutex}: a vCPU is in one ioctl at a time. */
  private final Map<VcpuName, Semaphore> vcpuMutexes = new ConcurrentHashMap<>();

  /** Threads that a step let go on before they were through. */
  private final Queue<KernelThread> waiting = new ConcurrentLinkedQueue<>();

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
    return run(at, step, this::perform);
  }

  private StepResult run(String at, Step step, BiFunction<String, Step, StepResult> action) {
    StepResult result = StepResult.OK;
    int repeat = step.repeat();
    for (int round = 0; round < repeat; round++) {
      result = action.apply(at, step);
      judge(at, step, result);
      if (!step.returns().accepts(host.backend(), result.code())) {
        break;
      }
    }
    return result;
  }

  private void judge(String at, Step step, StepResult result) {
    checkExit(at, step, result.exit());
    if (!step.returns().accepts(host.backend(), result.code())) {
      findings.add(
          at,
          "%s, expected was %s%s"
              .formatted(
                  result.code(),
                  step.returns().text(host.backend()),
                  result.detail().isEmpty() ? "" : " (" + result.detail() + ")"));
    }
  }

  private void checkExit(String at, Step step, StepResult.@Nullable Exit exit) {
    if (step.exitRange() != null && (exit == null || !step.exitRange().equals(exit.range()))) {
      findings.add(
          at + "/exit-range",
          "KVM names %s, expected was %s"
              .formatted(exit == null ? "no memory" : exit.range(), step.exitRange()));
    }
    if (step.exitKind() != null && (exit == null || step.exitKind() != exit.kind())) {
      findings.add(
          at + "/exit-kind",
          "KVM wants %s, expected was %s memory"
              .formatted(exit == null ? "nothing" : exit.kind() + " memory", step.exitKind()));
    }
  }

  /** Does one step, whatever it comes to. */
  StepResult perform(String at, Step step) {
    StepResult result = act(at, step);
    for (KernelThread other = waiting.poll(); other != null; other = waiting.poll()) {
      other.join();
    }
    return result;
  }

  private StepResult act(String at, Step step) {
    host.kernel().beginStep();
    try {
      return switch (step.verb().group()) {
        case GUEST -> step.vcpu() == null ? ofVmm(at, step) : ofGuest(at, step);
        case VMM -> ofVmm(at, step);
        case FILE -> ofFile(step);
        case HOST -> ofHost(at, step);
      };
    } catch (HookedKernel.EndlessRetry e) {
      return new StepResult("endless-retry", String.valueOf(e.getMessage()));
    }
  }

  private StepResult ofGuest(String at, Step step) {
    VcpuName vcpu = given(VcpuName.parse(given(step.vcpu()), new HashSet<>(host.vmNames())));
    EmulatedVm vm = host.vm(vcpu.vm());
    if (vm.isDestroyed()) {
      return new StepResult(Errno.EBADF.name(), "the VM is destroyed");
    }
    Semaphore mutex = vcpuMutexes.computeIfAbsent(vcpu, v -> new Semaphore(1));
    mutex.acquireUninterruptibly();
    try {
      return ofGuest(at, step, vm, vcpu);
    } finally {
      mutex.release();
    }
  }

  private StepResult ofGuest(String at, Step step, EmulatedVm vm, VcpuName vcpu) {
    if (step.verb() == Verb.PRE_FAULT) {
      return preFaulted(at, step, vm.preFault(vcpu.number(), given(step.preFault())));
    }
    Predicate<String> wanted =
        exit -> !exit.equals("OK") && step.returns().names(host.backend(), exit);
    return vm.access(vcpu.number(), step, wanted);
  }

  private StepResult preFaulted(String at, Step step, PreFault done) {
    if (step.left() != null && step.left().value() != done.bytesLeft()) {
      findings.add(
          at + "/left",
          "%s are left, expected was %s".formatted(new Bytes(done.bytesLeft()), step.left()));
    }
    return new StepResult(
        Returns.nameOf(done.error()),
        done.bytesLeft() == 0 ? "" : new Bytes(done.bytesLeft()) + " left");
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
      case ADD_SLOT -> vm.addSlots(given(step.addSlot()));
      case DELETE_SLOT -> vm.deleteSlots(given(step.deleteSlot()), step.addressSpace());
      case MOVE_SLOT ->
          StepResult.of(vm.moveSlot(slot(step, step.moveSlot()), given(step.gpa()).value()));
      case SET_FLAGS ->
          StepResult.of(vm.setFlags(slot(step, step.setFlags()), given(step.flags())));
      case GET_DIRTY_LOG -> dirty(at, step, vm.getDirtyLog(slot(step, step.getDirtyLog())));
      case CLEAR_DIRTY_LOG ->
          StepResult.of(vm.clearDirtyLog(slot(step, step.clearDirtyLog()), step.within()));
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
    return switch (step.verb()) {
      case PUNCH_HOLE -> punchHole(file, given(step.punchHole()));
      case CONVERT_FILE -> convert(file, given(step.convertFile()), given(step.to()));
      default -> allocate(file, given(step.allocate()));
    };
  }

  private static StepResult punchHole(GuestMemfd file, ByteRange hole) {
    return hole.isPages()
        ? StepResult.of(file.punchHole(hole.frames().start(), hole.frames().end()))
        : StepResult.of(Errno.EINVAL);
  }

  private static StepResult convert(GuestMemfd file, ByteRange range, Kind to) {
    GfnRange frames = range.frames();
    GuestMemfd.Conversion done =
        to == Kind.SHARED
            ? file.convertToShared(frames.start(), frames.end())
            : file.convertToPrivate(frames.start(), frames.end());
    return new StepResult(
        Returns.nameOf(done.error()),
        done.errorIndex() < 0 ? "" : "from 0x%x on".formatted(done.errorIndex() << 12));
  }

  private static StepResult allocate(GuestMemfd file, ByteRange range) {
    if (!range.isPages() || range.frames().end() > file.frames()) {
      return StepResult.of(Errno.EINVAL);
    }
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
      case STEPS -> {
        runAll(at + "/steps", given(step.steps()));
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
      host.kernel().before(lock.lockClass(), next, times, () -> runMeanwhile(at, steps));
      return;
    }
    for (int i = 0; i < times; i++) {
      if (place != null) {
        host.pages().faults().failNext(place, next + i);
      } else if (leaf != null && injection.interrupted()) {
        host.injector().on(leaf).next(next + i).interrupt();
      } else if (leaf != null) {
        String name = injection.status() == null ? "TDX_OPERAND_BUSY" : injection.status();
        host.injector().on(leaf).next(next + i).fail(TdxStatus.named(name).orElseThrow());
      }
    }
  }

  /** Steps of another thread, as far as they come while the calling thread stands still. */
  private void runMeanwhile(String at, List<Step> steps) {
    CountDownLatch through = new CountDownLatch(1);
    KernelThread other =
        host.kernel()
            .spawn(
                "other",
                () -> {
                  try {
                    for (int i = 0; i < steps.size(); i++) {
                      run(at + "/" + i, steps.get(i), this::act);
                    }
                  } finally {
                    through.countDown();
                  }
                });
    if (Uninterruptibles.awaitUninterruptibly(through, PATIENCE)) {
      other.join();
    } else {
      // It needs a lock that the calling thread has, and gets it when that one is done with it.
      waiting.add(other);
    }
  }

  private void runAll(String at, List<Step> steps) {
    for (int i = 0; i < steps.size(); i++) {
      run(at + "/" + i, steps.get(i));
    }
  }

  /** What KVM knows the slot of a step by. */
  private static int slot(Step step, @Nullable Integer number) {
    return SlotSetup.id(given(number), step.addressSpace());
  }

  private static String chosen(@Nullable String name, List<String> names) {
    return name == null ? names.get(0) : name;
  }

  /** A value that the check of the scenario has made sure of. */
  private static <T> T given(@Nullable T value) {
    return Optional.ofNullable(value).orElseThrow();
  }
}
