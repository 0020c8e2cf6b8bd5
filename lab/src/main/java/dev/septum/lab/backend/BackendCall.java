package dev.septum.lab.backend;

import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import org.jspecify.annotations.Nullable;

/**
 * One call of a backend, as reports name it.
 *
 * @param kvm the VM that it is for, or null
 * @param op as the kernel calls it
 * @param level null if the call is about no gfn
 */
record BackendCall(
    String backend, @Nullable Kvm kvm, String op, long gfn, @Nullable PageLevel level) {

  BackendCall(String backend, @Nullable Kvm kvm, String op) {
    this(backend, kvm, op, 0, null);
  }

  @Override
  public String toString() {
    String where = level == null ? "" : " of gfn 0x%x level %d".formatted(gfn, level.number());
    return "backend %s: %s%s".formatted(backend, op, where);
  }
}
