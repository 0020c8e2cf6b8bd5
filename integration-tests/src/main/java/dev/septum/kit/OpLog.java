package dev.septum.kit;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.InterposedOps;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.MmuView;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Takes note of every call of an op, between KVM and the backend. */
final class OpLog extends InterposedOps {

  private final Kvm kvm;
  private final MmuView mirror;
  private final Queue<OpCall> calls = new ConcurrentLinkedQueue<>();
  private final long patienceNanos;

  /** When each op that has not returned was called; of several calls of one op the last. */
  private final Map<String, Long> inProgress = new ConcurrentHashMap<>();

  /** Ops that took too long, and were interrupted. */
  private final Set<String> late = ConcurrentHashMap.newKeySet();

  /**
   * Notes the calls that go to a backend.
   *
   * @param patience how long an op may take
   */
  OpLog(KvmX86Ops backend, KvmMmu mmu, Duration patience) {
    super(backend);
    this.patienceNanos = patience.toNanos();
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

  /** An op that took too long, or null. */
  @Nullable String hanging() {
    return Stream.concat(
            late.stream(),
            inProgress.entrySet().stream()
                .filter(entry -> isLate(entry.getValue()))
                .map(Map.Entry::getKey))
        .findFirst()
        .orElse(null);
  }

  private boolean isLate(long start) {
    return System.nanoTime() - start > patienceNanos;
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
    long start = System.nanoTime();
    inProgress.put(op, start);
    @Nullable T result = null;
    try {
      result = call.get();
      return result;
    } finally {
      if (isLate(start)) {
        late.add(op);
      }
      inProgress.remove(op);
      Errno status = result instanceof Errno errno ? errno : Errno.OK;
      calls.add(new OpCall(op, gfn, level, kvm.kernel().locks().held(), mode(), during, status));
    }
  }
}
