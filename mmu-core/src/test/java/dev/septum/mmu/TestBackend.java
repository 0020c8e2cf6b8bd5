package dev.septum.mmu;

import static com.google.common.base.Preconditions.checkState;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentSkipListMap;

/**
 * A backend that never fails and remembers what its external page table maps. Tests make a Mockito
 * spy of it, and that fails.
 */
class TestBackend implements KvmX86Ops {

  private final PageAllocator pages;
  private final List<String> events;
  private final ConcurrentSkipListMap<Long, PageLevel> leafs = new ConcurrentSkipListMap<>();

  TestBackend(PageAllocator pages, List<String> events) {
    this.pages = pages;
    this.events = events;
  }

  /** Level of each leaf of the external page table, by gfn. */
  Map<Long, PageLevel> leafs() {
    // Not by the constructor for sorted maps, which counts on the size that it read first.
    Map<Long, PageLevel> copy = new TreeMap<>();
    leafs.forEach(copy::put);
    return copy;
  }

  private void op(String name, long gfn, PageLevel level) {
    events.add("%s: gfn %x level %d".formatted(name, gfn, level.number()));
  }

  @Override
  public Errno linkExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    kvm.mmuLock().assertHeld(LockMode.SHARED);
    op("link_external_spt", gfn, level);
    pages.changeOwner(externalSpt, PageOwner.EXTERNAL_PAGE_TABLE, PageOwner.SEPT_PAGE);
    return Errno.OK;
  }

  @Override
  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
    kvm.mmuLock().assertHeld(LockMode.SHARED);
    op("set_external_spte", gfn, level);
    checkState(leafs.put(gfn, level) == null, "gfn 0x%s is mapped already", gfn);
    return Errno.OK;
  }

  @Override
  public Errno splitExternalSpte(
      Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte, long newExternalSpt, LockMode mode) {
    kvm.mmuLock().assertHeld(mode);
    op("split_external_spte", gfn, level);
    checkState(leafs.remove(gfn) == level, "gfn 0x%s is no leaf of level %s", gfn, level);
    for (int i = 0; i < 512; i++) {
      leafs.put(gfn + i * level.below().pages(), level.below());
    }
    pages.changeOwner(newExternalSpt, PageOwner.EXTERNAL_PAGE_TABLE, PageOwner.SEPT_PAGE);
    return Errno.OK;
  }

  @Override
  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte) {
    kvm.mmuLock().assertHeld(LockMode.EXCLUSIVE);
    op("remove_external_spte", gfn, level);
    checkState(leafs.remove(gfn) == level, "gfn 0x%s is no leaf of level %s", gfn, level);
  }

  @Override
  public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    op("free_external_spt", gfn, level);
    pages.changeOwner(externalSpt, PageOwner.SEPT_PAGE, PageOwner.EXTERNAL_PAGE_TABLE);
    return Errno.OK;
  }

  @Override
  public long allocExternalFaultCache(Vcpu vcpu) {
    return pages.allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.ATOMIC);
  }
}
