package dev.septum.kvm;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.Placement;

/** A VM without a backend, on a host of 4 MiB. */
final class TestKvm extends Kvm {

  TestKvm(Kernel kernel) {
    super(
        7,
        new Host(
            kernel, new PageAllocator(kernel, 4L << 20, Placement.SEQUENTIAL, 0), TraceSink.OFF),
        new KvmX86Ops() {},
        VmType.TDX);
  }

  Vcpu newVcpu() {
    Vcpu vcpu = new TestVcpu(this, vcpus().size());
    addVcpu(vcpu);
    return vcpu;
  }

  private static final class TestVcpu extends Vcpu {
    TestVcpu(Kvm kvm, int id) {
      super(kvm, id);
    }
  }
}
