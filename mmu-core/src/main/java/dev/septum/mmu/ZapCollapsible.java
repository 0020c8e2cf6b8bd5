package dev.septum.mmu;

import com.google.errorprone.annotations.Immutable;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Kvm;

/**
 * Up to Linux 6.12: the table goes, and the next fault maps the huge page ({@code
 * zap_collapsible_spte_range}).
 */
@Immutable
final class ZapCollapsible implements HugePageRecovery {

  @Override
  public void recover(KvmMmu mmu, MmuPage root, Memslot slot) {
    Kvm kvm = mmu.kvm();
    SpteWriter writer = SpteWriter.forMode(mmu, LockMode.SHARED);
    kvm.kernel().rcu().readLock();
    try {
      new CollapsibleTables(mmu, slot)
          .visit(root, () -> {}, iter -> writer.zapAndFlush(iter) == Errno.EBUSY);
    } finally {
      kvm.kernel().rcu().readUnlock();
    }
  }
}
