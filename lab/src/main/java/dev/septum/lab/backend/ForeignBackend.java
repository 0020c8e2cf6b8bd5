package dev.septum.lab.backend;

import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Capability;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.Host;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.Vcpu;
import dev.septum.kvm.VmType;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A backend that does not come with Septum: its calls are watched, and what goes wrong outside of
 * the ops is told under its name.
 */
public final class ForeignBackend implements KvmBackend {

  private final KvmBackend backend;
  private final OpWatch watch;

  /** The backend, under watch. */
  public ForeignBackend(KvmBackend backend, OpWatch watch) {
    this.backend = backend;
    this.watch = watch;
  }

  private <T> @Nullable T orNull(@Nullable Kvm kvm, String what, Supplier<@Nullable T> body) {
    BackendCall call = new BackendCall(name(), kvm, what);
    try {
      return watch.call(call, body);
    } catch (BackendException e) {
      throw e;
    } catch (RuntimeException | StackOverflowError | LinkageError | AssertionError e) {
      throw new BackendException(call + " threw " + e, e);
    }
  }

  private <T> T call(@Nullable Kvm kvm, String what, Supplier<@Nullable T> body) {
    T result = orNull(kvm, what, body);
    if (result == null) {
      throw new BackendException(new BackendCall(name(), kvm, what) + " returned null");
    }
    return result;
  }

  @Override
  public String name() {
    return backend.name();
  }

  @Override
  public String description() {
    return call(null, "description", backend::description);
  }

  @Override
  public Set<Capability> capabilities() {
    return call(null, "capabilities", backend::capabilities);
  }

  @Override
  public KvmX86Ops hardwareSetup(Host host) {
    return call(null, "hardware_setup", () -> backend.hardwareSetup(host));
  }

  @Override
  public Kvm newVm(int id, Host host, KvmX86Ops ops, VmType type) {
    Kvm kvm = call(null, "newVm", () -> backend.newVm(id, host, ops, type));
    kvm.watchOps(its -> new WatchedOps(name(), its, watch));
    return kvm;
  }

  @Override
  public Vcpu newVcpu(Kvm kvm, int id) {
    return call(kvm, "newVcpu", () -> backend.newVcpu(kvm, id));
  }

  @Override
  public boolean refuseNextSplit(Kvm kvm) {
    return call(kvm, "refuseNextSplit", () -> backend.refuseNextSplit(kvm));
  }

  @Override
  public ExternalTable externalTable(Kvm kvm) {
    return new Shown(kvm, call(kvm, "externalTable", () -> backend.externalTable(kvm)));
  }

  /** What the backend shows of a VM. */
  private final class Shown implements ExternalTable {
    private final Kvm kvm;
    private final ExternalTable table;

    Shown(Kvm kvm, ExternalTable table) {
      this.kvm = kvm;
      this.table = table;
    }

    @Override
    public List<Leaf> leafs() {
      return call(kvm, "ExternalTable.leafs", table::leafs);
    }

    @Override
    public List<Table> tables() {
      return call(kvm, "ExternalTable.tables", table::tables);
    }

    @Override
    public @Nullable Leaf walk(long gfn) {
      return orNull(kvm, "ExternalTable.walk", () -> table.walk(gfn));
    }

    @Override
    public Map<PageOwner, Long> pages() {
      return call(kvm, "ExternalTable.pages", table::pages);
    }

    @Override
    public long splitCachePages() {
      return call(kvm, "ExternalTable.splitCachePages", table::splitCachePages);
    }

    @Override
    public long splitCacheNeed() {
      return call(kvm, "ExternalTable.splitCacheNeed", table::splitCacheNeed);
    }
  }
}
