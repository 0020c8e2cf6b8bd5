package dev.septum.kit;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.InterposedOps;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.MmuView;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Takes note of every call of an op, between KVM and the backend. */
final class OpLog extends InterposedOps {

  private final Kvm kvm;
  private final MmuView mirror;
  private final Queue<OpCall> calls = new ConcurrentLinkedQueue<>();
  private final Set<String> inProgress = ConcurrentHashMap.newKeySet();

  OpLog(KvmX86Ops backend, KvmMmu mmu) {
    super(backend);
    this.kvm = mmu.kvm();
    this.mirror = new MmuView(mmu);
  }

  /** The calls since the last time. */
  List<OpCall> take() {
    List<OpCall> taken = List.copyOf(calls);
    calls.clear();
    return taken;
  }

  boolean isOf(Kvm other) {
    return kvm == other;
  }

  /** An op that has not returned, or null. */
  @Nullable String hanging() {
    return inProgress.stream().findFirst().orElse(null);
  }

  private @Nullable LockMode mode() {
    for (LockMode mode : LockMode.values()) {
      if (kvm.mmuLock().isHeld(mode)) {
        return mode;
      }
    }
    return null;
  }

  @Override
  protected <T> T around(Kvm vm, String op, long gfn, @Nullable PageLevel level, Supplier<T> call) {
    @Nullable Long during = level == null ? null : mirror.mirrorSpte(gfn, level);
    inProgress.add(op);
    @Nullable T result = null;
    try {
      result = call.get();
      return result;
    } finally {
      inProgress.remove(op);
      Errno status = result instanceof Errno errno ? errno : Errno.OK;
      calls.add(new OpCall(op, gfn, level, kvm.kernel().locks().held(), mode(), during, status));
    }
  }
}
