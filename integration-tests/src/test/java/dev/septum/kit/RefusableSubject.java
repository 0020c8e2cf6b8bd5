package dev.septum.kit;

import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmX86Ops;
import java.time.Duration;
import java.util.function.UnaryOperator;

/** An altered backend, whose splits can be refused, under a KVM that may be altered too. */
final class RefusableSubject extends Subject {

  private final UnaryOperator<KvmX86Ops> wrongKvm;

  RefusableSubject(KvmBackend backend, UnaryOperator<KvmX86Ops> wrongKvm) {
    super(backend);
    this.wrongKvm = wrongKvm;
  }

  RefusableSubject(KvmBackend backend) {
    this(backend, UnaryOperator.identity());
  }

  @Override
  public boolean refuseNextSplit(KitVm vm) {
    if (vm.kvm() instanceof CachingVm caching) {
      caching.refusesNextSplit = true;
      return true;
    }
    return super.refuseNextSplit(vm);
  }

  /** Long enough for what returns at all. */
  @Override
  public Duration timeLimit() {
    return Duration.ofSeconds(20);
  }

  @Override
  KvmX86Ops seenThroughKvm(KitVm vm, KvmX86Ops ops) {
    return wrongKvm.apply(ops);
  }
}
