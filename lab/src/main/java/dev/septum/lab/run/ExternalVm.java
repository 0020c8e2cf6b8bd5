package dev.septum.lab.run;

import com.google.common.collect.TreeRangeSet;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.lab.backend.Machine;
import dev.septum.lab.scenario.ByteRange;
import dev.septum.lab.scenario.Counters;
import dev.septum.lab.scenario.Kind;
import dev.septum.lab.scenario.Level;
import dev.septum.lab.scenario.Returns;
import dev.septum.lab.scenario.SlotSetup;
import dev.septum.lab.scenario.Step;
import dev.septum.lab.scenario.VmSetup;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.AnonymousMemory;
import dev.septum.mmu.FaultOutcome;
import dev.septum.mmu.GuestCpu;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.PreFault;
import dev.septum.mmu.vmm.BackendVm;
import dev.septum.tdx.module.SeptState;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.Supplier;

/**
 * A VM of a scenario with private memory in the external page table of a backend without TDs.
 * Nothing is pending there: what is mapped counts as accepted.
 */
final class ExternalVm extends EmulatedVm {

  private final BackendVm vm;
  private final long mapGpaPiece;

  ExternalVm(
      String name, int id, Machine machine, VmSetup setup, Function<String, GuestMemfd> files) {
    super(name, files);
    PageLevel root = setup.levels() == 5 ? PageLevel.LEVEL_256T : PageLevel.LEVEL_512G;
    this.vm = machine.newBackendVm(id, setup.vcpus(), root);
    this.mapGpaPiece = setup.mapGpaPiece().value();
    must(vm.addMemory(CODE.frames().start(), CODE.frames().pages(), PageLevel.LEVEL_4K));
    try {
      must(vm.accept(0, CODE.start(), CODE.end(), PageLevel.LEVEL_4K).error());
    } catch (HookedKernel.EndlessRetry e) {
      // The table never shows what was mapped: the invariants find that.
    }
  }

  /** A VM that is bugged by now is there for the invariants to find. */
  private void must(Errno error) {
    if (error.isError() && !vm.kvm().isBugged()) {
      throw new SetupException("the guest's code cannot be had: " + error);
    }
  }

  BackendVm vm() {
    return vm;
  }

  @Override
  public KvmMmu mmu() {
    return vm.mmu();
  }

  @Override
  AnonymousMemory userMemory() {
    return vm.userMemory();
  }

  @Override
  long mapUserMemory(SlotSetup slot) {
    return BackendVm.HVA_BASE + (slot.hva() == null ? slot.gpa() : slot.hva()).value();
  }

  @Override
  long userPages() {
    return vm.userMemory().populated();
  }

  @Override
  boolean isPrivateByDefault() {
    return true;
  }

  @Override
  public boolean hasExternalTable() {
    return true;
  }

  @Override
  public List<ExternalLeaf> externalLeafs() {
    return vm.externalTable().leafs().stream()
        .map(leaf -> new ExternalLeaf(leaf.gfn(), leaf.level(), leaf.pfn(), SeptState.MAPPED))
        .toList();
  }

  @Override
  Errno convert(ByteRange range, Kind to) {
    return vm.convert(range.frames(), to == Kind.PRIVATE);
  }

  @Override
  StepResult access(int vcpu, Step step, Predicate<String> wanted) {
    return switch (step.verb()) {
      case ACCEPT -> acceptAll(vcpu, step, wanted);
      case READ -> touchAll(vcpu, step, ranges(step.read()), AccessKind.READ, wanted);
      case WRITE -> touchAll(vcpu, step, ranges(step.write()), AccessKind.WRITE, wanted);
      case EXECUTE -> touchAll(vcpu, step, ranges(step.execute()), AccessKind.EXEC, wanted);
      case CONVERT -> mapGpa(step, wanted);
      default -> throw new IllegalArgumentException(step.verb().key() + " is no guest's");
    };
  }

  private StepResult acceptAll(int vcpu, Step step, Predicate<String> wanted) {
    PageLevel largest = step.at() == Level.SIZE_4K ? PageLevel.LEVEL_4K : PageLevel.LEVEL_2M;
    boolean touchFirst = step.touchFirst() != null && step.touchFirst();
    for (ByteRange range : ranges(step.accept())) {
      StepResult result =
          answered(
              range.start(),
              wanted,
              () ->
                  touchFirst
                      ? vm.touchAndAccept(vcpu, range.start(), range.end(), largest)
                      : vm.accept(vcpu, range.start(), range.end(), largest));
      if (!result.isOk()) {
        return result;
      }
    }
    return StepResult.OK;
  }

  private StepResult touchAll(
      int vcpu, Step step, List<ByteRange> ranges, AccessKind kind, Predicate<String> wanted) {
    long every = step.every() == null ? 4096 : step.every().value();
    for (ByteRange range : ranges) {
      for (long gpa = range.start(); gpa < range.end(); gpa += every) {
        long alias = isShared(step, gpa) ? vm.sharedBit() : 0;
        long touched = gpa | alias;
        StepResult result =
            answered(gpa, wanted, () -> vm.access(vcpu, kind, touched, CODE.start()));
        if (!result.isOk()) {
          return result;
        }
      }
    }
    return StepResult.OK;
  }

  private boolean isShared(Step step, long gpa) {
    return step.as() == null ? !view().isPrivate(gpa >>> 12) : step.as() == Kind.SHARED;
  }

  /** What the guest does, again and again as long as the VMM can answer its exits. */
  private StepResult answered(
      long gpa, Predicate<String> wanted, Supplier<GuestCpu.Access> access) {
    while (true) {
      GuestCpu.Access done = access.get();
      StepResult result = resultOf(done, gpa);
      FaultOutcome.MemoryFault fault = done.memoryFault();
      if (fault == null
          || wanted.test(result.code())
          || view().isPrivate(fault.gpa() >>> 12) == fault.isPrivate()) {
        return result;
      }
      // Memory becomes what the guest took it for.
      Errno error =
          convert(
              new ByteRange(fault.gpa(), fault.gpa() + fault.size()),
              fault.isPrivate() ? Kind.PRIVATE : Kind.SHARED);
      if (error.isError()) {
        return new StepResult(Returns.nameOf(error), "memory could not be converted for a fault");
      }
    }
  }

  /** The guest's MapGPA: KVM hands it to user space piece by piece. */
  private StepResult mapGpa(Step step, Predicate<String> wanted) {
    ByteRange range = step.convert();
    Kind to = step.to();
    if (range == null || to == null) {
      throw new IllegalArgumentException("no range to convert");
    }
    for (long gpa = range.start(); gpa < range.end(); gpa += mapGpaPiece) {
      ByteRange piece = new ByteRange(gpa, Math.min(range.end(), gpa + mapGpaPiece));
      StepResult exit = StepResult.exit("map-gpa", piece.start(), piece.size(), to == Kind.PRIVATE);
      if (wanted.test(exit.code())) {
        return exit;
      }
      Errno error = convert(piece, to);
      if (error.isError()) {
        return new StepResult(
            "guest-panic", "MapGPA of 0x%x failed: %s".formatted(gpa, Returns.nameOf(error)));
      }
    }
    return StepResult.OK;
  }

  @Override
  PreFault preFault(int vcpu, ByteRange range) {
    return vm.preFault(vcpu, range.start(), range.size());
  }

  @Override
  Dirty collectDirtyRings() {
    return new Dirty(Errno.EINVAL, TreeRangeSet.create());
  }

  @Override
  Map<String, Long> counters() {
    Map<String, Long> all = super.counters();
    all.put(Counters.SPLIT_CACHE, vm.externalTable().splitCachePages());
    return all;
  }

  @Override
  void destroyVm() {
    vm.close();
  }
}
