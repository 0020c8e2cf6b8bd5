package dev.septum.lab.conform;

import dev.septum.kernel.KernelThread;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Kvm;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.MemoryRegion;
import dev.septum.mmu.Memslot;
import java.util.ArrayList;
import java.util.List;

/**
 * The race of a {@code concurrent} operation, on threads: each vCPU touches pages that a linear
 * congruential generator chooses, while user space turns dirty logging on and off.
 */
final class ReplayedRace {

  private static final long MULTIPLIER = 1664525;
  private static final long INCREMENT = 1013904223;
  private static final long UINT_MASK = (1L << 32) - 1;

  private final Kvm kvm;
  private final KvmMmu mmu;
  private final List<ReplayedVcpu> vcpus;
  private final long base;
  private final long span;
  private final int threads;
  private final long touches;
  private final int toggles;

  ReplayedRace(Kvm kvm, KvmMmu mmu, List<ReplayedVcpu> vcpus, OpFields fields)
      throws RecordingException {
    this.kvm = kvm;
    this.mmu = mmu;
    this.vcpus = vcpus;
    this.base = fields.longValue("base");
    this.span = fields.longValue("span");
    this.threads = fields.intValue("vcpu_threads");
    this.touches = fields.longValue("touches_per_vcpu");
    this.toggles = fields.intValue("toggles");
    if (threads > vcpus.size()) {
      throw fields.wrong("vcpu_threads", threads + "", "a number of vCPUs that the VM has");
    }
    if (mmu.memslots().find(base >>> 12) == null || span < 4096) {
      throw fields.wrong("base", Long.toHexString(base), "the address of memory");
    }
  }

  OpResult run() {
    List<KernelThread> running = new ArrayList<>();
    for (int i = 0; i < threads; i++) {
      ReplayedVcpu vcpu = vcpus.get(i);
      running.add(kvm.kernel().spawn("vCPU " + vcpu.id(), () -> touchAll(vcpu)));
    }
    Errno error = Errno.OK;
    for (int i = 0; i < toggles; i++) {
      Errno toggled = toggleLogging();
      error = toggled.isError() ? toggled : error;
    }
    running.forEach(KernelThread::join);
    return OpResult.of(error);
  }

  private void touchAll(ReplayedVcpu vcpu) {
    long x = vcpu.id() + 1L;
    for (long i = 0; i < touches; i++) {
      x = (x * MULTIPLIER + INCREMENT) & UINT_MASK;
      long gpa = base + ((x >>> 8) % (span / 4096)) * 4096 + 8L * vcpu.id();
      vcpu.touch(new Touch((x & 128) != 0 ? AccessKind.WRITE : AccessKind.READ, gpa, 1, 0));
    }
  }

  private Errno toggleLogging() {
    Memslot slot = mmu.memslots().find(base >>> 12);
    if (slot == null) {
      return Errno.ENOENT;
    }
    MemoryRegion region = slot.region();
    return mmu.memory().setRegion(region.withFlags(region.flags() ^ MemoryRegion.LOG_DIRTY_PAGES));
  }
}
