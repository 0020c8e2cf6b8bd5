package dev.septum.mmu;

import static com.google.common.base.Preconditions.checkState;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Vcpu;
import org.jspecify.annotations.Nullable;

/** The MMU state of one vCPU: its roots and its caches. Used by the vCPU's own thread. */
public final class VcpuMmu {

  /** Tables that one walk may need, at most ({@code PT64_ROOT_MAX_LEVEL}). */
  private static final int MIN_TABLES = 5;

  private final KvmMmu mmu;
  private final Vcpu vcpu;
  private final MemoryCache<Long> tablePages;
  private final MemoryCache<String> headers;
  private final MmioCache mmioCache;
  private final @Nullable DirtyRing dirtyRing;

  /** The address space that the vCPU runs in: 1 in SMM. */
  private int asId;

  private @Nullable MmuPage root;
  private @Nullable MmuPage mirrorRoot;

  VcpuMmu(KvmMmu mmu, Vcpu vcpu) {
    this.mmu = mmu;
    this.vcpu = vcpu;
    this.mmioCache = new MmioCache(mmu);
    this.dirtyRing = mmu.dirtyTracking().newRing(vcpu.id());
    PageAllocator pages = mmu.kvm().pages();
    tablePages =
        new MemoryCache<>(
            () -> {
              long pfn = pages.allocPage(PageOwner.MMU_PAGE_TABLE, Gfp.KERNEL_ACCOUNT);
              return pfn == PageAllocator.NO_PAGE ? null : pfn;
            },
            pfn -> pages.freePage(pfn, PageOwner.MMU_PAGE_TABLE));
    headers =
        new MemoryCache<>(
            () ->
                pages.allocObject(MmuPage.HEADER_SLAB, Gfp.KERNEL_ACCOUNT)
                    ? MmuPage.HEADER_SLAB
                    : null,
            pages::freeObject);
  }

  /** The vCPU. */
  public Vcpu vcpu() {
    return vcpu;
  }

  KvmMmu mmu() {
    return mmu;
  }

  MmioCache mmioCache() {
    return mmioCache;
  }

  /** Where the vCPU reports the pages that it dirtied; null while the VM uses bitmaps. */
  public @Nullable DirtyRing dirtyRing() {
    return dirtyRing;
  }

  /** The address space that the vCPU runs in. */
  int asId() {
    return asId;
  }

  /** The vCPU enters SMM: it sees the slots of address space 1, through a root of their own. */
  public void enterSmm() {
    changeAddressSpace(1);
  }

  /** The vCPU leaves SMM. */
  public void leaveSmm() {
    changeAddressSpace(0);
  }

  private void changeAddressSpace(int newAsId) {
    checkState(mmu.addressSpaces() > newAsId, "the VM has no address space %s", newAsId);
    if (newAsId != asId) {
      putRoot();
      asId = newAsId;
    }
  }

  private void putRoot() {
    MmuPage direct = root;
    if (direct != null) {
      mmu.roots().put(direct);
      root = null;
    }
  }

  /**
   * Maps memory before the guest touches it ({@code KVM_PRE_FAULT_MEMORY}). No lock held.
   *
   * @param gpa bytes, a multiple of 4096, without the shared bit
   * @param size bytes, a multiple of 4096
   * @return how far it came: OK if anything was done, with the bytes that are left
   */
  public PreFault preFault(long gpa, long size) {
    return mmu.preFault(this, gpa, size);
  }

  /** Makes one walk possible without allocation ({@code mmu_topup_memory_caches}). May sleep. */
  Errno topup() {
    if (mmu.kvm().type().hasMirroredTdp()) {
      Errno error = mmu.kvm().ops().topupExternalFaultCache(vcpu, MIN_TABLES);
      if (error.isError()) {
        return error;
      }
    }
    Errno error = tablePages.topup(MIN_TABLES);
    return error.isError() ? error : headers.topup(MIN_TABLES);
  }

  /** Takes a table page out of the caches. */
  MmuPage allocPage() {
    headers.alloc();
    return mmu.newPage(tablePages.alloc());
  }

  /** Takes a page for an external page table out of the backend's cache of this vCPU. */
  long allocExternalSpt() {
    return mmu.kvm().ops().allocExternalFaultCache(vcpu);
  }

  /** Table pages waiting in the caches. */
  int cachedTablePages() {
    return tablePages.size();
  }

  /** Has valid roots on return ({@code kvm_mmu_reload}); the mirror root comes first. May sleep. */
  public Errno load() {
    MmuPage direct = root;
    if (direct != null && direct.isInvalidRoot()) {
      putRoot();
    }
    boolean needsMirror = mmu.kvm().type().hasMirroredTdp() && mirrorRoot == null;
    if (root != null && !needsMirror) {
      return Errno.OK;
    }
    Errno error = topup();
    if (error.isError()) {
      return error;
    }
    if (needsMirror) {
      mirrorRoot = mmu.roots().getOrAlloc(this, true);
    }
    if (root == null) {
      root = mmu.roots().getOrAlloc(this, false);
    }
    return Errno.OK;
  }

  /** Lets go of the roots and empties the caches ({@code kvm_mmu_destroy}). */
  public void destroy() {
    for (MmuPage page : new @Nullable MmuPage[] {root, mirrorRoot}) {
      if (page != null) {
        mmu.roots().put(page);
      }
    }
    root = null;
    mirrorRoot = null;
    tablePages.freeAll();
    headers.freeAll();
    mmu.kvm().ops().freeExternalFaultCache(vcpu);
    mmu.forget(this);
  }

  /** The root that the fault's address belongs to. */
  MmuPage rootFor(PageFault fault) {
    return loaded(fault.isDirect() ? root : mirrorRoot);
  }

  MmuPage directRoot() {
    return loaded(root);
  }

  private static MmuPage loaded(@Nullable MmuPage page) {
    if (page == null) {
      throw new IllegalStateException("the vCPU's MMU is not loaded");
    }
    return page;
  }
}
