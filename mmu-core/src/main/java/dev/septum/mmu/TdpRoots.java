package dev.septum.mmu;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.SharedRef;
import dev.septum.kernel.SpinLock;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import java.util.List;
import java.util.Set;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * The roots of a VM ({@code kvm->arch.tdp_mmu_roots}). Read from one immutable list; written under
 * tdp_mmu_pages_lock.
 */
final class TdpRoots {

  private static final List<PageLevel> ZAP_LEVELS =
      List.of(PageLevel.LEVEL_4K, PageLevel.LEVEL_2M, PageLevel.LEVEL_1G);

  private final KvmMmu mmu;
  private final Kvm kvm;

  /** tdp_mmu_pages_lock. */
  private final SpinLock pagesLock;

  private final SharedRef<ImmutableList<MmuPage>> roots;

  TdpRoots(KvmMmu mmu, SpinLock pagesLock) {
    this.mmu = mmu;
    this.kvm = mmu.kvm();
    this.pagesLock = pagesLock;
    this.roots = kvm.kernel().ref(ImmutableList.<MmuPage>of()).named("tdp_mmu_roots");
  }

  /** All roots, also those on their way out. */
  List<MmuPage> all() {
    return roots.get();
  }

  /** The valid roots of an address space that map what the filter asks for. */
  List<MmuPage> valid(Set<GfnKind> kinds, int asId) {
    return matching(kinds, asId).stream().filter(r -> !r.isInvalidRoot()).toList();
  }

  /** The same with invalid roots that are still in use. */
  List<MmuPage> matching(Set<GfnKind> kinds, int asId) {
    return all().stream().filter(r -> r.role().asId() == asId && matches(r, kinds)).toList();
  }

  /**
   * Visits roots one by one until a visitor answers false. A reference is held on each while it is
   * visited: the visitor may drop mmu_lock, and the root's last user go meanwhile.
   */
  void forEach(List<MmuPage> some, Predicate<MmuPage> visitor) {
    for (MmuPage root : some) {
      if (tryGet(root)) {
        try {
          if (!visitor.test(root)) {
            return;
          }
        } finally {
          put(root);
        }
      }
    }
  }

  private boolean matches(MmuPage root, Set<GfnKind> kinds) {
    if (!kvm.type().hasMirroredTdp()) {
      return RootKind.of(root) == RootKind.DIRECT;
    }
    return kinds.contains(root.isMirror() ? GfnKind.PRIVATE : GfnKind.SHARED);
  }

  /** A valid root for the vCPU, with a reference taken ({@code kvm_tdp_mmu_alloc_root}). */
  MmuPage getOrAlloc(VcpuMmu vcpu, boolean mirror) {
    MmuRole role = MmuRole.root(mmu.rootLevel(), mmu.format().isAdEnabled(), vcpu.asId());
    MmuRole wanted = mirror ? role.asMirror() : role;
    kvm.mmuLock().lock(LockMode.SHARED);
    try {
      MmuPage found = find(wanted);
      return found != null ? found : allocUnderLock(vcpu, wanted);
    } finally {
      kvm.mmuLock().unlock(LockMode.SHARED);
    }
  }

  private MmuPage allocUnderLock(VcpuMmu vcpu, MmuRole role) {
    pagesLock.lock();
    try {
      // Another vCPU may have added the root since the list was read without this lock.
      MmuPage found = find(role);
      if (found != null) {
        return found;
      }
      MmuPage root = vcpu.allocPage();
      root.init(role, 0, null, 0);
      mmu.trace().getPage(root);
      // One reference for the vCPU, one for the MMU itself until the root is invalidated.
      root.makeRoot(
          kvm.kernel().word(2).named("tdp_mmu_root_count"),
          kvm.kernel().word(0).named("role.invalid"));
      roots.set(ImmutableList.<MmuPage>builder().addAll(roots.get()).add(root).build());
      return root;
    } finally {
      pagesLock.unlock();
    }
  }

  private @Nullable MmuPage find(MmuRole role) {
    for (MmuPage root : all()) {
      if (root.role().equals(role) && tryGet(root)) {
        return root;
      }
    }
    return null;
  }

  private static boolean tryGet(MmuPage root) {
    long count = root.rootCount();
    while (count != 0) {
      if (root.rootCountWord().compareAndSet(count, count + 1)) {
        return true;
      }
      count = root.rootCount();
    }
    return false;
  }

  /** Drops a reference; the last one frees the root ({@code kvm_tdp_mmu_put_root}). */
  void put(MmuPage root) {
    if (root.rootCountWord().addAndGet(-1) > 0) {
      return;
    }
    kvm.bugOn(!root.role().isInvalid(), "last reference of a valid root dropped");
    pagesLock.lock();
    try {
      roots.set(all().stream().filter(r -> r != root).collect(ImmutableList.toImmutableList()));
    } finally {
      pagesLock.unlock();
    }
    mmu.freeAfterGracePeriod(root);
  }

  /**
   * Makes roots unusable and schedules them to be zapped ({@code kvm_tdp_mmu_invalidate_roots}).
   */
  void invalidate(Set<RootKind> kinds) {
    for (MmuPage root : all()) {
      if (kinds.contains(RootKind.of(root)) && !root.role().isInvalid()) {
        root.scheduleRootToZap();
      }
    }
  }

  /**
   * Zaps the scheduled roots and drops the MMU's own reference on each ({@code
   * kvm_tdp_mmu_zap_invalidated_roots}). Takes mmu_lock.
   */
  void zapInvalidated(LockMode mode) {
    kvm.mmuLock().lock(mode);
    try {
      for (MmuPage root : all()) {
        if (root.clearScheduledRootToZap()) {
          kvm.bugOn(!root.role().isInvalid(), "scheduled root is not invalid");
          zapRoot(root, mode);
          put(root);
        }
      }
    } finally {
      kvm.mmuLock().unlock(mode);
    }
  }

  /**
   * Zaps every direct root, valid or not: what the VMM's memory backs ({@code
   * kvm_tdp_mmu_zap_all}). mmu_lock held for write.
   */
  void zapAll() {
    kvm.mmuLock().assertHeld(LockMode.EXCLUSIVE);
    forEach(
        all().stream().filter(r -> !r.isMirror()).toList(),
        root -> {
          zapRoot(root, LockMode.EXCLUSIVE);
          return true;
        });
  }

  /** Unlinks everything under a root, small tables first so that no pass takes too long. */
  private void zapRoot(MmuPage root, LockMode mode) {
    SpteWriter writer = SpteWriter.forMode(mmu, mode);
    kvm.kernel().rcu().readLock();
    try {
      for (PageLevel level : ZAP_LEVELS) {
        zapAtLevel(root, level, writer);
      }
      zapAtLevel(root, root.role().level(), writer);
    } finally {
      kvm.kernel().rcu().readUnlock();
    }
  }

  private void zapAtLevel(MmuPage root, PageLevel level, SpteWriter writer) {
    TdpIter iter = TdpIter.overWholeRoot(mmu, root, level);
    while (iter.isValid()) {
      boolean retry = false;
      if (!iter.condResched(writer.mode())
          && mmu.format().isPresent(iter.oldSpte())
          && !iter.level().isAbove(level)) {
        retry = writer.set(iter, SpteFormat.NONPRESENT).isError() && !kvm.isBugged();
      }
      if (!retry) {
        iter.next();
      }
    }
  }
}
