package dev.septum.kvm;

import static dev.septum.kvm.Errno.EAGAIN;
import static dev.septum.kvm.Errno.EBUSY;
import static dev.septum.kvm.Errno.EIO;
import static dev.septum.kvm.Errno.ENOMEM;
import static dev.septum.kvm.Errno.EOPNOTSUPP;
import static dev.septum.kvm.Errno.OK;

import com.google.common.collect.Sets;
import dev.septum.kernel.LockChecker;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Breach.Kind;
import java.util.Set;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A backend's ops as KVM calls them. A call without the locks that the contract demands is a
 * violation of the caller's. What the backend does against the contract bugs the VM, with a report
 * that names backend and op, and the op has failed: an exception, a result that KVM knows nothing
 * to do with, other locks held than before.
 */
final class GuardedOps implements KvmX86Ops {

  private static final Set<Errno> MAPPED = Sets.immutableEnumSet(OK, EAGAIN, EBUSY, ENOMEM, EIO);
  private static final Set<Errno> SPLIT =
      Sets.immutableEnumSet(OK, EAGAIN, EBUSY, ENOMEM, EIO, EOPNOTSUPP);
  private static final Set<Errno> FREED = Sets.immutableEnumSet(OK, EIO);
  private static final Set<Errno> TOPPED_UP = Sets.immutableEnumSet(OK, ENOMEM);

  /** How often in a row a split may ask for another attempt: others get on in the meantime. */
  private static final int MOST_ATTEMPTS = 1000;

  private volatile KvmX86Ops ops;

  /** Splits in a row that asked for another attempt; threads may lose counts of each other. */
  private volatile int attempts;

  GuardedOps(KvmX86Ops ops) {
    this.ops = ops;
  }

  void watch(UnaryOperator<KvmX86Ops> watcher) {
    ops = watcher.apply(ops);
  }

  @Override
  public String name() {
    return ops.name();
  }

  @Override
  public Errno linkExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    kvm.mmuLock().assertHeld(LockMode.SHARED);
    return status(
        new Call(kvm, "link_external_spt", gfn, level),
        MAPPED,
        () -> ops.linkExternalSpt(kvm, gfn, level, externalSpt));
  }

  @Override
  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
    kvm.mmuLock().assertHeld(LockMode.SHARED);
    return status(
        new Call(kvm, "set_external_spte", gfn, level),
        MAPPED,
        () -> ops.setExternalSpte(kvm, gfn, level, mirrorSpte));
  }

  @Override
  public Errno splitExternalSpte(
      Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte, long newExternalSpt, LockMode mode) {
    kvm.mmuLock().assertHeld(mode);
    Call call = new Call(kvm, "split_external_spte", gfn, level);
    Errno status =
        status(
            call,
            SPLIT,
            () -> ops.splitExternalSpte(kvm, gfn, level, oldMirrorSpte, newExternalSpt, mode));
    attempts = status == EAGAIN ? attempts + 1 : 0;
    if (attempts < MOST_ATTEMPTS) {
      return status;
    }
    call.bug(
        Kind.ENDLESS,
        "returned EAGAIN %d times in a row, while need_topup_external_per_vm_split_cache was false"
            .formatted(attempts));
    return EIO;
  }

  @Override
  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte) {
    kvm.mmuLock().assertHeld(LockMode.EXCLUSIVE);
    call(
        new Call(kvm, "remove_external_spte", gfn, level),
        () -> {
          ops.removeExternalSpte(kvm, gfn, level, oldMirrorSpte);
          return OK;
        });
  }

  @Override
  public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    kvm.mmuLock().assertHeld(LockMode.EXCLUSIVE);
    return status(
        new Call(kvm, "free_external_spt", gfn, level),
        FREED,
        () -> ops.freeExternalSpt(kvm, gfn, level, externalSpt));
  }

  @Override
  public long allocExternalFaultCache(Vcpu vcpu) {
    Call call = new Call(vcpu.kvm(), "alloc_external_fault_cache");
    Long page = call(call, () -> ops.allocExternalFaultCache(vcpu));
    if (page == null || page == PageAllocator.NO_PAGE) {
      return PageAllocator.NO_PAGE;
    }
    boolean exists = page >= 0 && page < vcpu.kvm().pages().totalPages();
    PageOwner owner = exists ? vcpu.kvm().pages().ownerOf(page) : PageOwner.FREE;
    if (owner == PageOwner.EXTERNAL_PAGE_TABLE) {
      return page;
    }
    call.bug(
        Kind.RESULT,
        "returned pfn 0x%x, a page of %s".formatted(page, exists ? owner.tag() : "no host"));
    return PageAllocator.NO_PAGE;
  }

  @Override
  public Errno topupExternalFaultCache(Vcpu vcpu, int count) {
    vcpu.kvm().kernel().locks().mightSleep("topup_external_fault_cache");
    return status(
        new Call(vcpu.kvm(), "topup_external_fault_cache"),
        TOPPED_UP,
        () -> ops.topupExternalFaultCache(vcpu, count));
  }

  @Override
  public void freeExternalFaultCache(Vcpu vcpu) {
    call(
        new Call(vcpu.kvm(), "free_external_fault_cache"),
        () -> {
          ops.freeExternalFaultCache(vcpu);
          return OK;
        });
  }

  @Override
  public Errno topupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    kvm.kernel().locks().mightSleep("topup_external_per_vm_split_cache");
    return status(
        new Call(kvm, "topup_external_per_vm_split_cache"),
        TOPPED_UP,
        () -> ops.topupExternalPerVmSplitCache(kvm, level));
  }

  @Override
  public boolean needTopupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    kvm.mmuLock().assertHeld();
    Boolean needed =
        call(
            new Call(kvm, "need_topup_external_per_vm_split_cache"),
            () -> ops.needTopupExternalPerVmSplitCache(kvm, level));
    return needed != null && needed;
  }

  @Override
  public void freeExternalPerVmSplitCache(Kvm kvm) {
    call(
        new Call(kvm, "free_external_per_vm_split_cache"),
        () -> {
          ops.freeExternalPerVmSplitCache(kvm);
          return OK;
        });
  }

  @Override
  public PageLevel gmemMaxMappingLevel(Kvm kvm, long pfn, boolean isPrivate) {
    PageLevel level =
        call(
            new Call(kvm, "gmem_max_mapping_level"),
            () -> ops.gmemMaxMappingLevel(kvm, pfn, isPrivate));
    return level == null ? PageLevel.LEVEL_4K : level;
  }

  /** The call's status, if KVM knows what to do with it; else EIO. */
  private Errno status(Call call, Set<Errno> known, Supplier<Errno> body) {
    Errno status = call(call, body);
    if (status == null) {
      return EIO;
    }
    if (!known.contains(status)) {
      call.bug(Kind.RESULT, "returned %s, which is none of %s".formatted(status, known));
      return EIO;
    }
    return status;
  }

  /** What the call returned; null if it broke a rule, and then the VM is bugged. */
  private <T> @Nullable T call(Call call, Supplier<T> body) {
    LockChecker locks = call.kvm.kernel().locks();
    LockChecker.Snapshot before = locks.snapshot();
    T result = null;
    try {
      result = body.get();
      if (result == null) {
        call.bug(Kind.RESULT, "returned null");
      }
    } catch (LockChecker.LockViolation e) {
      call.bug(
          e.isOnSleeping() ? Kind.SLEEPS : Kind.LOCK_RULE,
          "broke a rule on locks: " + e.getMessage(),
          e);
    } catch (RuntimeException | StackOverflowError | LinkageError | AssertionError e) {
      call.bug(Kind.THROWS, "threw " + e, e);
    }
    String change = locks.restore(before, call.kvm.kernel().rcu());
    if (!change.isEmpty()) {
      call.bug(Kind.HELD_LOCKS, change);
      return null;
    }
    return result;
  }

  /** One call of an op, as reports name it. */
  private final class Call {
    private final Kvm kvm;
    private final String op;
    private final long gfn;
    private final @Nullable PageLevel level;

    Call(Kvm kvm, String op) {
      this(kvm, op, 0, null);
    }

    Call(Kvm kvm, String op, long gfn, @Nullable PageLevel level) {
      this.kvm = kvm;
      this.op = op;
      this.gfn = gfn;
      this.level = level;
    }

    void bug(Kind kind, String what) {
      bug(kind, what, new Throwable());
    }

    void bug(Kind kind, String what, Throwable cause) {
      kvm.breach(new Breach(kind, text(what)), cause);
    }

    private String text(String what) {
      String where = level == null ? "" : " of gfn 0x%x level %d".formatted(gfn, level.number());
      return "backend %s: %s%s %s".formatted(name(), op, where, what);
    }
  }
}
