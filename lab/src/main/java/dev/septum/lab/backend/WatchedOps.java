package dev.septum.lab.backend;

import dev.septum.kvm.InterposedOps;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** A foreign backend's ops under watch. */
final class WatchedOps extends InterposedOps {

  private final String backend;
  private final OpWatch watch;

  WatchedOps(String backend, KvmX86Ops ops, OpWatch watch) {
    super(ops);
    this.backend = backend;
    this.watch = watch;
  }

  @Override
  public String name() {
    return backend;
  }

  @Override
  protected <T> T around(
      Kvm kvm, String op, long gfn, @Nullable PageLevel level, Supplier<T> call) {
    return watch.call(new BackendCall(backend, kvm, op, gfn, level), call);
  }
}
