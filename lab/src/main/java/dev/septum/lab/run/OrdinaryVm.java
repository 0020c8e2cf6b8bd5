package dev.septum.lab.run;

import com.google.common.collect.RangeSet;
import com.google.common.collect.TreeRangeSet;
import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;
import dev.septum.lab.backend.Machine;
import dev.septum.lab.scenario.ByteRange;
import dev.septum.lab.scenario.Kind;
import dev.septum.lab.scenario.Level;
import dev.septum.lab.scenario.Returns;
import dev.septum.lab.scenario.SlotSetup;
import dev.septum.lab.scenario.Step;
import dev.septum.lab.scenario.VmSetup;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.AnonymousMemory;
import dev.septum.mmu.DirtyRing;
import dev.septum.mmu.FaultOutcome;
import dev.septum.mmu.GuestCpu;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.HostMm;
import dev.septum.mmu.HugetlbMemory;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.MemoryConversion;
import dev.septum.mmu.Memslot;
import dev.septum.mmu.MmuParams;
import dev.septum.mmu.PreFault;
import dev.septum.mmu.SpteFormat;
import dev.septum.mmu.VcpuMmu;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Function;
import java.util.function.Predicate;

/** A VM of a scenario that is no TD: its guest walks the direct root. */
final class OrdinaryVm extends EmulatedVm {

  /** Where anonymous memory is; reserved memory has its own place. */
  private static final long ANONYMOUS = 0x7e00_0000_0000L;

  /** What the VMM has mapped: reserved memory where there is some, anonymous memory elsewhere. */
  private static final class UserMemory implements HostMm {
    private final AnonymousMemory anonymous;
    private final HugetlbMemory reserved;

    /** Memory reserved for a slot, and its address. */
    private record Reserved(long gpa, long bytes, PageLevel level) {}

    private final Map<Reserved, Long> reservedAt = new ConcurrentHashMap<>();

    UserMemory(PageAllocator pages) {
      anonymous = new AnonymousMemory(pages);
      reserved = new HugetlbMemory(pages);
    }

    /** Reserves memory for a slot, unless an earlier slot there had it reserved already. */
    long reserve(long gpa, long bytes, PageLevel level) {
      Long present = reservedAt.get(new Reserved(gpa, bytes, level));
      if (present == null) {
        present = reserved.map(gpa, bytes, level);
        reservedAt.put(new Reserved(gpa, bytes, level), present);
      }
      return present;
    }

    private HostMm at(long hva) {
      return reserved.pfn(hva) == PageAllocator.NO_PAGE ? anonymous : reserved;
    }

    @Override
    public long faultIn(long hva, boolean write) {
      return at(hva).faultIn(hva, write);
    }

    @Override
    public boolean isWritable(long hva) {
      return at(hva).isWritable(hva);
    }

    @Override
    public PageLevel mappingLevel(long hva) {
      return at(hva).mappingLevel(hva);
    }
  }

  private final KvmMmu mmu;
  private final UserMemory user;
  private final List<VcpuMmu> vcpus = new ArrayList<>();
  private final List<GuestCpu> cpus = new ArrayList<>();

  OrdinaryVm(
      String name, int id, Machine machine, VmSetup setup, Function<String, GuestMemfd> files) {
    super(name, files);
    Kvm kvm = machine.newVm(id, setup.type().type());
    user = new UserMemory(machine.host().pages());
    MmuParams params =
        MmuParams.of(
            setup.format() == VmSetup.FormatName.NPT ? SpteFormat.npt() : SpteFormat.ept());
    boolean isFiveLevel = setup.levels() == 5;
    mmu =
        new KvmMmu(
            kvm,
            machine.module(),
            isFiveLevel ? params.withRootLevel(PageLevel.LEVEL_256T) : params,
            user);
    if (setup.manualDirtyLogProtect() != null) {
      must(
          "manual-dirty-log-protect",
          mmu.dirtyTracking().enableManualProtect(setup.manualDirtyLogProtect()));
    }
    if (setup.dirtyRing() != null) {
      must("dirty-ring", mmu.dirtyTracking().enableRing(setup.dirtyRing().value()));
    }
    if (setup.zapSlotOnly()) {
      mmu.memory().disableQuirkSlotZapAll();
    }
    must(
        "the guest's code",
        mmu.memory().setRegion(0, 0, CODE.start(), CODE.size(), ANONYMOUS + CODE.start(), null, 0));
    for (int i = 0; i < setup.vcpus(); i++) {
      Vcpu vcpu = machine.newVcpu(kvm, i);
      kvm.addVcpu(vcpu);
      VcpuMmu vcpuMmu = mmu.addVcpu(vcpu);
      vcpus.add(vcpuMmu);
      cpus.add(new GuestCpu(vcpuMmu));
    }
  }

  private static void must(String what, Errno error) {
    if (error.isError()) {
      throw new SetupException("%s cannot be had: %s".formatted(what, error));
    }
  }

  @Override
  public KvmMmu mmu() {
    return mmu;
  }

  @Override
  AnonymousMemory userMemory() {
    return user.anonymous;
  }

  @Override
  long mapUserMemory(SlotSetup slot) {
    if (slot.backing() == Level.SIZE_4K) {
      return ANONYMOUS + (slot.hva() == null ? slot.gpa() : slot.hva()).value();
    }
    try {
      return user.reserve(slot.gpa().value(), slot.size().value(), slot.backing().pageLevel());
    } catch (IllegalStateException e) {
      // What it says: the host's memory is too small or in too small pieces.
      return NO_MEMORY;
    }
  }

  @Override
  long userPages() {
    return user.anonymous.populated() + user.reserved.frames();
  }

  @Override
  boolean isPrivateByDefault() {
    return false;
  }

  @Override
  Errno convert(ByteRange range, Kind to) {
    return MemoryConversion.convert(mmu, user.anonymous, range.frames(), to == Kind.PRIVATE);
  }

  @Override
  StepResult access(int vcpu, Step step, Predicate<String> wanted) {
    if (step.smm() == null || !step.smm()) {
      return accessAll(vcpu, step, wanted);
    }
    vcpus.get(vcpu).enterSmm();
    try {
      return accessAll(vcpu, step, wanted);
    } finally {
      vcpus.get(vcpu).leaveSmm();
    }
  }

  private StepResult accessAll(int vcpu, Step step, Predicate<String> wanted) {
    AccessKind kind =
        switch (step.verb()) {
          case READ -> AccessKind.READ;
          case WRITE -> AccessKind.WRITE;
          case EXECUTE -> AccessKind.EXEC;
          default -> throw new IllegalArgumentException(step.verb().key() + " is no access");
        };
    List<ByteRange> ranges =
        switch (kind) {
          case READ -> ranges(step.read());
          case WRITE -> ranges(step.write());
          case EXEC -> ranges(step.execute());
        };
    long every = step.every() == null ? 4096 : step.every().value();
    for (ByteRange range : ranges) {
      for (long gpa = range.start(); gpa < range.end(); gpa += every) {
        StepResult result = access(cpus.get(vcpu), kind, gpa, wanted);
        if (!result.isOk()) {
          return result;
        }
      }
    }
    return StepResult.OK;
  }

  /** One access; memory of the other kind is converted, unless that exit is wanted. */
  private StepResult access(GuestCpu cpu, AccessKind kind, long gpa, Predicate<String> wanted) {
    while (true) {
      GuestCpu.Access access = cpu.access(kind, gpa, kind == AccessKind.EXEC ? gpa : CODE.start());
      FaultOutcome.MemoryFault fault = access.memoryFault();
      StepResult result = resultOf(access, gpa);
      if (fault == null
          || wanted.test(result.code())
          || view().isPrivate(gpa >>> 12) == fault.isPrivate()) {
        return result;
      }
      Errno error = convert(new ByteRange(fault.gpa(), fault.gpa() + fault.size()), kindOf(fault));
      if (error.isError()) {
        return new StepResult(Returns.nameOf(error), "memory could not be converted for a fault");
      }
    }
  }

  private static Kind kindOf(FaultOutcome.MemoryFault fault) {
    return fault.isPrivate() ? Kind.PRIVATE : Kind.SHARED;
  }

  @Override
  public boolean hasExternalTable() {
    return false;
  }

  @Override
  public List<ExternalLeaf> externalLeafs() {
    return List.of();
  }

  @Override
  PreFault preFault(int vcpu, ByteRange range) {
    return vcpus.get(vcpu).preFault(range.start(), range.size());
  }

  @Override
  Dirty collectDirtyRings() {
    RangeSet<Long> frames = TreeRangeSet.create();
    for (VcpuMmu vcpu : vcpus) {
      DirtyRing ring = vcpu.dirtyRing();
      if (ring == null) {
        return new Dirty(Errno.EINVAL, frames);
      }
      for (DirtyRing.Entry entry : ring.collect()) {
        Memslot slot = mmu.memslots().byId(entry.slot());
        if (slot != null) {
          addFrame(frames, slot.gfns().start() + entry.offset());
        }
      }
    }
    mmu.dirtyTracking().resetRings();
    return new Dirty(Errno.OK, frames);
  }

  @Override
  void destroyVm() {
    mmu.notifier().release();
    vcpus.forEach(VcpuMmu::destroy);
    mmu.destroy();
    user.anonymous.discardAll();
    user.reserved.unmapAll();
  }
}
