package dev.septum.lab.conform;

import com.google.common.collect.ImmutableMap;
import dev.septum.kvm.Errno;
import dev.septum.kvm.VcpuStat;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.DirtyRing;
import dev.septum.mmu.GuestCpu;
import dev.septum.mmu.PreFault;
import dev.septum.mmu.VcpuMmu;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;

/**
 * A vCPU that runs the recorded guest program: a loop that reads, at one address, and one that
 * writes, at another; or just an instruction at the address that is touched. Each ends with a port
 * access.
 */
final class ReplayedVcpu {

  private static final long READ_LOOP = 0x1000;
  private static final long WRITE_LOOP = 0x1100;

  private final VcpuMmu mmu;
  private final GuestCpu cpu;
  private Map<String, Long> atBegin;
  private long faultsAtBegin;

  ReplayedVcpu(VcpuMmu mmu) {
    this.mmu = mmu;
    this.cpu = new GuestCpu(mmu);
    this.atBegin = mmu.vcpu().stats().toMap();
  }

  int id() {
    return mmu.vcpu().id();
  }

  void begin() {
    atBegin = mmu.vcpu().stats().toMap();
    faultsAtBegin = mmu.vcpu().stats().get(VcpuStat.EXITS);
  }

  /** Nested page faults in this operation so far, while it has not ended with its port access. */
  int faults() {
    return Math.toIntExact(mmu.vcpu().stats().get(VcpuStat.EXITS) - faultsAtBegin);
  }

  ImmutableMap<String, Long> delta() {
    ImmutableMap.Builder<String, Long> delta = ImmutableMap.builder();
    mmu.vcpu()
        .stats()
        .toMap()
        .forEach((name, value) -> delta.put(name, value - atBegin.getOrDefault(name, 0L)));
    return delta.buildOrThrow();
  }

  OpResult touch(Touch touch) {
    int mmioExits = 0;
    OptionalLong lastMmio = OptionalLong.empty();
    Errno error = fetch(touch);
    for (long i = 0; i < touch.count() && !error.isError(); i++) {
      long gpa = touch.gpa() + i * touch.stride();
      GuestCpu.Access access = cpu.access(touch.kind(), gpa, rip(touch.kind(), gpa));
      error = access.error();
      if (access.result() == GuestCpu.Result.MMIO) {
        mmioExits++;
        lastMmio = OptionalLong.of(gpa);
      } else if (access.result() == GuestCpu.Result.DIRTY_RING_FULL) {
        return OpResult.of(-1, 0).withMmio(mmioExits, lastMmio);
      }
    }
    if (!error.isError()) {
      cpu.portExit();
    }
    return OpResult.of(error).withMmio(mmioExits, lastMmio);
  }

  /** The loop's own code must be there before it accesses anything. */
  private Errno fetch(Touch touch) {
    long rip = rip(touch.kind(), touch.gpa());
    return cpu.access(AccessKind.EXEC, rip, rip).error();
  }

  private static long rip(AccessKind kind, long gpa) {
    return switch (kind) {
      case READ -> READ_LOOP;
      case WRITE -> WRITE_LOOP;
      case EXEC -> gpa;
    };
  }

  PreFault preFault(long gpa, long size) {
    return mmu.preFault(gpa, size);
  }

  /** What user space reads out of the vCPU's dirty ring. */
  List<DirtyRing.Entry> collectDirty() {
    DirtyRing ring = mmu.dirtyRing();
    return ring == null ? List.of() : ring.collect();
  }

  void destroy() {
    mmu.destroy();
  }
}
