package dev.septum.lab.run;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.TreeRangeSet;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.lab.scenario.ByteRange;
import dev.septum.lab.scenario.Counters;
import dev.septum.lab.scenario.Kind;
import dev.septum.lab.scenario.Level;
import dev.septum.lab.scenario.Returns;
import dev.septum.lab.scenario.SlotSetup;
import dev.septum.lab.scenario.Step;
import dev.septum.lab.scenario.VmSetup;
import dev.septum.mmu.AnonymousMemory;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.PreFault;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.RunExit;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.VcpuTdx;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.ConvertMemory;
import dev.septum.tdx.guest.GuestPanic;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.guest.GuestTask;
import dev.septum.tdx.guest.TouchMemory;
import dev.septum.tdx.module.AccessKind;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** A trust domain of a scenario. */
public final class TdVm extends EmulatedVm {

  private final Vmm vmm;

  TdVm(String name, TdxHost host, VmSetup setup, Function<String, GuestMemfd> files) {
    super(name, files);
    TdLayout.Region code = new TdLayout.Region(CODE.start(), CODE.end());
    this.vmm =
        new Vmm(
            host,
            new TdLayout(
                    ImmutableList.of(code),
                    code,
                    setup.vcpus(),
                    setup.mapGpaPiece().value(),
                    setup.septVeDisable(),
                    Level.SIZE_4K.pageLevel())
                .withGpaw(setup.levels() == 5));
  }

  public KvmTdx td() {
    return vmm.kvm();
  }

  /** The files that are the TD's own: the one behind its code. */
  List<GuestMemfd> ownFiles() {
    return vmm.files();
  }

  @Override
  public KvmMmu mmu() {
    return vmm.kvm().mmu();
  }

  @Override
  AnonymousMemory userMemory() {
    return vmm.userMemory();
  }

  @Override
  long mapUserMemory(SlotSetup slot) {
    return Vmm.hvaOf((slot.hva() == null ? slot.gpa() : slot.hva()).value());
  }

  @Override
  long userPages() {
    return vmm.sharedPages();
  }

  @Override
  boolean isPrivateByDefault() {
    return true;
  }

  @Override
  Errno convert(ByteRange range, Kind to) {
    return vmm.convert(range.start(), range.size(), to == Kind.PRIVATE);
  }

  @Override
  StepResult access(int vcpu, Step step, Predicate<String> wanted) {
    GuestProgram program = new GuestProgram(tasks(step));
    VcpuTdx running = vmm.vcpus().get(vcpu);
    try {
      RunExit exit =
          vmm.run(running, program, candidate -> wanted.test(resultOf(candidate).code()));
      if (exit instanceof RunExit.MapGpa) {
        // Nobody answers it any more.
        running.completeExit(Errno.EINVAL.code());
      }
      return resultOf(exit);
    } catch (GuestPanic e) {
      return new StepResult("guest-panic", String.valueOf(e.getMessage()));
    }
  }

  private static StepResult resultOf(RunExit exit) {
    if (exit instanceof RunExit.Failed failed) {
      return new StepResult(Returns.nameOf(failed.error()), failed.reason());
    }
    if (exit instanceof RunExit.MemoryFault fault) {
      return StepResult.exit("memory-fault", fault.gpa(), fault.bytes(), fault.isPrivate());
    }
    if (exit instanceof RunExit.MapGpa map) {
      return StepResult.exit("map-gpa", map.gpa(), map.bytes(), map.toPrivate());
    }
    return StepResult.OK;
  }

  private List<GuestTask> tasks(Step step) {
    return switch (step.verb()) {
      case ACCEPT -> accepts(step);
      case READ -> touches(step, step.read(), AccessKind.READ);
      case WRITE -> touches(step, step.write(), AccessKind.WRITE);
      case EXECUTE -> touches(step, step.execute(), AccessKind.EXECUTE);
      case CONVERT -> List.of(conversion(step));
      default -> throw new IllegalArgumentException(step.verb().key() + " is no guest's");
    };
  }

  private static List<GuestTask> accepts(Step step) {
    List<GuestTask> tasks = new ArrayList<>();
    boolean touchFirst = step.touchFirst() != null && step.touchFirst();
    for (ByteRange range : ranges(step.accept())) {
      AcceptMemory accept =
          new AcceptMemory(
              range.start(),
              range.end(),
              touchFirst ? AcceptMemory.Order.TOUCH_FIRST : AcceptMemory.Order.ACCEPT_FIRST);
      tasks.add(step.at() == Level.SIZE_4K ? accept.pageByPage() : accept);
    }
    return tasks;
  }

  private GuestTask conversion(Step step) {
    ByteRange range = step.convert();
    if (range == null) {
      throw new IllegalArgumentException("no range to convert");
    }
    ConvertMemory conversion =
        step.to() == Kind.PRIVATE
            ? ConvertMemory.toPrivate(range.start(), range.end())
            : ConvertMemory.toShared(range.start(), range.end());
    return conversion.withSharedBit(td().sharedBit());
  }

  /** A task for each run of addresses of one kind. */
  private List<GuestTask> touches(Step step, @Nullable List<ByteRange> ranges, AccessKind kind) {
    long every = step.every() == null ? 4096 : step.every().value();
    List<GuestTask> tasks = new ArrayList<>();
    for (ByteRange range : ranges(ranges)) {
      for (long start = range.start(); start < range.end(); ) {
        boolean shared = isShared(step, start);
        long end = start + every;
        while (end < range.end() && isShared(step, end) == shared) {
          end += every;
        }
        long alias = shared ? mmu().gfnDirectBits() << 12 : 0;
        tasks.add(new TouchMemory(start | alias, Math.min(end, range.end()) | alias, every, kind));
        start = end;
      }
    }
    return tasks;
  }

  private boolean isShared(Step step, long gpa) {
    return step.as() == null ? !view().isPrivate(gpa >>> 12) : step.as() == Kind.SHARED;
  }

  @Override
  public boolean hasExternalTable() {
    return true;
  }

  @Override
  public List<ExternalLeaf> externalLeafs() {
    return td().tdxHost().module().view().leafs(td().tdr() << 12).stream()
        .map(
            leaf ->
                new ExternalLeaf(
                    leaf.gpa() >>> 12,
                    PageLevel.of(leaf.level() + 1),
                    leaf.hpa() >>> 12,
                    leaf.state()))
        .toList();
  }

  @Override
  PreFault preFault(int vcpu, ByteRange range) {
    return vmm.vcpus().get(vcpu).preFault(range.start(), range.size());
  }

  @Override
  Dirty collectDirtyRings() {
    return new Dirty(Errno.EINVAL, TreeRangeSet.create());
  }

  @Override
  Map<String, Long> counters() {
    Map<String, Long> all = super.counters();
    all.putAll(td().counters().toMap());
    all.put(Counters.SPLIT_CACHE, (long) td().splitCacheCount());
    return all;
  }

  @Override
  void destroyVm() {
    vmm.close();
  }
}
