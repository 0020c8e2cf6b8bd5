package dev.septum.kit;

import static dev.septum.kvm.PageLevel.LEVEL_2M;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kit.WrongBackends.Wrong;
import dev.septum.kvm.Errno;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.InterposedOps;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.MirrorSpte;
import dev.septum.kvm.PageLevel;
import java.util.List;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** KVMs that break a promise: ops between the MMU and the kit. */
final class WrongKvms {

  private WrongKvms() {}

  private static Wrong kvm(String rule, String says, UnaryOperator<KvmX86Ops> wrongKvm) {
    return kvm(rule, says, CachingOps::new, wrongKvm);
  }

  private static Wrong kvm(
      String rule, String says, Supplier<KvmX86Ops> ops, UnaryOperator<KvmX86Ops> wrongKvm) {
    return new Wrong(rule, new RefusableSubject(AlteredBackend.caching(ops), wrongKvm), says);
  }

  /** Maps what is mapped once more. */
  private static final class IdempotentOps extends CachingOps {
    @Override
    public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
      ExternalTable.Leaf leaf = new ExternalTable.Leaf(gfn, level, MirrorSpte.pfn(mirrorSpte));
      return leaf.equals(CachingVm.of(kvm).table().walk(gfn))
          ? Errno.OK
          : super.setExternalSpte(kvm, gfn, level, mirrorSpte);
    }
  }

  /** A KVM that changes the status of some op. */
  private abstract static class WrongStatus extends InterposedOps {
    WrongStatus(KvmX86Ops ops) {
      super(ops);
    }

    abstract Errno changed(Kvm kvm, Errno status);

    @Override
    public Errno splitExternalSpte(
        Kvm kvm, long gfn, PageLevel level, long old, long newExternalSpt, LockMode mode) {
      return changed(kvm, super.splitExternalSpte(kvm, gfn, level, old, newExternalSpt, mode));
    }
  }

  static List<Wrong> all() {
    return ImmutableList.of(
        kvm(
            "KVM.1",
            "mmu_lock in OpCall[op=set_external_spte",
            ops ->
                new InterposedOps(ops) {
                  @Override
                  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) {
                    kvm.mmuLock().unlock(LockMode.SHARED);
                    Errno status = super.setExternalSpte(kvm, gfn, level, spte);
                    kvm.mmuLock().lock(LockMode.SHARED);
                    return status;
                  }
                }),
        kvm("KVM.2", "the mirror entry during OpCall[op=set_external_spte", Deferring::new),
        kvm(
            "KVM.3",
            "a fault in which",
            ops ->
                new InterposedOps(ops) {
                  @Override
                  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) {
                    Errno status = super.setExternalSpte(kvm, gfn, level, spte);
                    return status == Errno.EBUSY ? Errno.OK : status;
                  }
                }),
        kvm(
            "KVM.4",
            "whose first split_external_spte returned EAGAIN",
            ops ->
                new WrongStatus(ops) {
                  @Override
                  Errno changed(Kvm kvm, Errno status) {
                    return status == Errno.EAGAIN ? Errno.EBUSY : status;
                  }
                }),
        kvm(
            "KVM.5",
            "a split whose split_external_spte returned",
            ops ->
                new WrongStatus(ops) {
                  @Override
                  Errno changed(Kvm kvm, Errno status) {
                    return status == Errno.EBUSY ? Errno.EIO : status;
                  }
                }),
        kvm(
            "KVM.6",
            "on a backend that splits under the write mmu_lock only",
            ops ->
                new WrongStatus(ops) {
                  @Override
                  Errno changed(Kvm kvm, Errno status) {
                    return status == Errno.EOPNOTSUPP ? Errno.EBUSY : status;
                  }
                }),
        kvm(
            "KVM.7",
            "whose split was refused",
            ops ->
                new WrongStatus(ops) {
                  @Override
                  Errno changed(Kvm kvm, Errno status) {
                    boolean converts = kvm.kernel().locks().held().contains(LockClass.SLOTS_LOCK);
                    return converts ? Errno.OK : status;
                  }
                }),
        kvm(
            "KVM.8",
            "of those on the split cache and on leafs",
            ops ->
                new InterposedOps(ops) {
                  private boolean isFirst = true;

                  @Override
                  public boolean needTopupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
                    boolean asks = isFirst;
                    isFirst = false;
                    return asks && super.needTopupExternalPerVmSplitCache(kvm, level);
                  }
                }),
        kvm(
            "KVM.9",
            "comes before the table that it is in",
            ops ->
                new InterposedOps(ops) {
                  @Override
                  public Errno linkExternalSpt(Kvm kvm, long gfn, PageLevel level, long spt) {
                    return level == LEVEL_2M
                        ? Errno.OK
                        : super.linkExternalSpt(kvm, gfn, level, spt);
                  }
                }),
        kvm(
            "KVM.10",
            "leafs that are still mapped at",
            ops ->
                new InterposedOps(ops) {
                  @Override
                  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long old) {
                    if (gfn % 512 != 1) {
                      super.removeExternalSpte(kvm, gfn, level, old);
                    }
                  }
                }),
        kvm(
            "KVM.11",
            "for two faults of one gfn",
            IdempotentOps::new,
            ops ->
                new InterposedOps(ops) {
                  @Override
                  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) {
                    Errno status = super.setExternalSpte(kvm, gfn, level, spte);
                    return status.isError() ? status : super.setExternalSpte(kvm, gfn, level, spte);
                  }
                }));
  }

  /** The first 2M leaf is mapped when the second one is. */
  private static final class Deferring extends InterposedOps {
    private @Nullable Supplier<Errno> deferred;
    private boolean isFirst = true;

    Deferring(KvmX86Ops ops) {
      super(ops);
    }

    @Override
    public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) {
      if (isFirst) {
        isFirst = false;
        deferred = () -> super.setExternalSpte(kvm, gfn, level, spte);
        return Errno.OK;
      }
      if (deferred != null) {
        Errno unused = deferred.get();
        deferred = null;
      }
      return super.setExternalSpte(kvm, gfn, level, spte);
    }
  }
}
