package dev.septum.kit;

import dev.septum.kvm.Capability;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.Host;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.Vcpu;
import dev.septum.kvm.VmType;
import dev.septum.kvm.reference.ReferenceBackend;
import dev.septum.kvm.reference.ReferenceVcpu;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;

/** The reference, with a cache for splits if it claims one, and something changed. */
class AlteredBackend implements KvmBackend {

  private final Set<Capability> capabilities;
  private final Supplier<KvmX86Ops> ops;
  private final Function<Kvm, UnaryOperator<ExternalTable>> view;

  AlteredBackend(
      Set<Capability> capabilities,
      Supplier<KvmX86Ops> ops,
      Function<Kvm, UnaryOperator<ExternalTable>> view) {
    this.capabilities = capabilities;
    this.ops = ops;
    this.view = view;
  }

  /** The reference with other ops. */
  static AlteredBackend reference(Supplier<KvmX86Ops> ops) {
    return new AlteredBackend(
        new ReferenceBackend().capabilities(), ops, kvm -> UnaryOperator.identity());
  }

  /** The reference with a cache, and with other ops. */
  static AlteredBackend caching(Supplier<KvmX86Ops> ops) {
    return new AlteredBackend(Set.of(Capability.values()), ops, kvm -> UnaryOperator.identity());
  }

  AlteredBackend claiming(Capability... claimed) {
    return new AlteredBackend(Set.of(claimed), ops, view);
  }

  AlteredBackend showing(Function<Kvm, UnaryOperator<ExternalTable>> other) {
    return new AlteredBackend(capabilities, ops, other);
  }

  @Override
  public String name() {
    return "altered";
  }

  @Override
  public String description() {
    return "the reference with something changed";
  }

  @Override
  public Set<Capability> capabilities() {
    return capabilities;
  }

  @Override
  public KvmX86Ops hardwareSetup(Host host) {
    return ops.get();
  }

  @Override
  public Kvm newVm(int id, Host host, KvmX86Ops vmOps, VmType type) {
    return new CachingVm(id, host, vmOps, type);
  }

  @Override
  public Vcpu newVcpu(Kvm kvm, int id) {
    return new ReferenceVcpu(kvm, id);
  }

  @Override
  public ExternalTable externalTable(Kvm kvm) {
    return view.apply(kvm).apply(new CachingView((CachingVm) kvm));
  }
}
