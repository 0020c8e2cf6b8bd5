package dev.septum.kvm;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.Placement;

/** A VM without a backend, on a host of 4 MiB. */
final class TestKvm extends Kvm {

  TestKvm(Kernel kernel) {
    this(kernel, new KvmX86Ops() {});
  }

  TestKvm(Kernel kernel, KvmX86Ops ops) {
    super(
        7,
        new Host(
            kernel, new PageAllocator(kernel, 4L << 20, Placement.SEQUENTIAL, 0), TraceSink.OFF),
        ops,
        VmType.TDX);
  }

  Vcpu newVcpu() {
    Vcpu vcpu = new Vcpu(this, vcpus().size());
    addVcpu(vcpu);
    return vcpu;
  }
}
