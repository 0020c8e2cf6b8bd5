package dev.septum.kvm.reference;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.MirrorSpte;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;

/** The ops on {@link ReferenceTable}. What KVM never does bugs the VM. */
public class ReferenceOps implements KvmX86Ops {

  /** The ops of a host; they have no state. */
  public ReferenceOps() {}

  @Override
  public String name() {
    return "reference";
  }

  private static ReferenceTable table(Kvm kvm) {
    return ((ReferenceVm) kvm).table();
  }

  /** OK, or EIO for what never happens. */
  private static Errno must(Kvm kvm, boolean holds, String expression) {
    return kvm.bugOn(!holds, expression) ? Errno.EIO : Errno.OK;
  }

  @Override
  public Errno linkExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    Errno error = must(kvm, table(kvm).addTable(gfn, level, externalSpt), "table linked twice");
    if (!error.isError()) {
      kvm.pages().changeOwner(externalSpt, PageOwner.EXTERNAL_PAGE_TABLE, PageOwner.SEPT_PAGE);
    }
    return error;
  }

  @Override
  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
    boolean added = table(kvm).addLeaf(gfn, level, MirrorSpte.pfn(mirrorSpte));
    return must(kvm, added, "leaf mapped over a leaf");
  }

  @Override
  public Errno splitExternalSpte(
      Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte, long newExternalSpt, LockMode mode) {
    if (((ReferenceVm) kvm).refusesSplit()) {
      return Errno.EBUSY;
    }
    Errno error = must(kvm, table(kvm).splitLeaf(gfn, level, newExternalSpt), "no leaf to split");
    if (!error.isError()) {
      kvm.pages().changeOwner(newExternalSpt, PageOwner.EXTERNAL_PAGE_TABLE, PageOwner.SEPT_PAGE);
    }
    return error;
  }

  @Override
  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte) {
    must(kvm, table(kvm).removeLeaf(gfn, level), "no leaf to remove");
  }

  @Override
  public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    Errno error = must(kvm, table(kvm).removeTable(externalSpt), "no table to free");
    if (!error.isError()) {
      kvm.pages().changeOwner(externalSpt, PageOwner.SEPT_PAGE, PageOwner.EXTERNAL_PAGE_TABLE);
    }
    return error;
  }

  @Override
  public long allocExternalFaultCache(Vcpu vcpu) {
    return ((ReferenceVcpu) vcpu).take();
  }

  @Override
  public Errno topupExternalFaultCache(Vcpu vcpu, int count) {
    return ((ReferenceVcpu) vcpu).topup(count);
  }

  @Override
  public void freeExternalFaultCache(Vcpu vcpu) {
    ((ReferenceVcpu) vcpu).free();
  }

  @Override
  public PageLevel gmemMaxMappingLevel(Kvm kvm, long pfn, boolean isPrivate) {
    return isPrivate ? PageLevel.LEVEL_2M : PageLevel.NONE;
  }
}
