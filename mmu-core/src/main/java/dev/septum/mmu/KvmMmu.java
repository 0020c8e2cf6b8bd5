package dev.septum.mmu;

import static com.google.common.base.Preconditions.checkState;

import dev.septum.kernel.FaultInjector;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.SpinLock;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Stats;
import dev.septum.kvm.Vcpu;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * One VM's MMU: its roots, its memory, and what can be asked of them ({@code kvm->arch} and {@code
 * tdp_mmu.c}).
 */
public final class KvmMmu {

  /** A bug to plant: the spare table of a split lacks the page for the external page table. */
  public static final String LOST_EXTERNAL_SPT = "lost_external_spt";

  private static final long MAX_GFN_PLUS_ONE = 1L << 40;

  private final Kvm kvm;
  private final KvmModule module;
  private final MmuParams params;
  private final HostMm hostMm;
  private final Stats<MmuCounter> counters;
  private final Stats<SplitCause> splits;
  private final FaultInjector plantedBugs = new FaultInjector();
  private final MmuTrace trace;
  private final MmuInvalidate invalidate;
  private final Memslots memslots;
  private final MemoryAttributes attributes;
  private final SpteChanges changes;
  private final TdpRoots roots;
  private final NxHugePages nxHugePages;
  private final PageFaults faults;
  private final VmMemory memory;
  private final DirtyTracking dirtyTracking;
  private final MmuNotifier notifier;
  private final List<VcpuMmu> vcpus = new ArrayList<>();
  private volatile long gfnDirectBits;
  private volatile PageLevel rootLevel;
  private volatile boolean preFaultAllowed;

  /** {@code mmu_valid_gen}, 0 or 1: which of two generations the roots are of. slots_lock held. */
  private int validGeneration;

  /**
   * An MMU without memory.
   *
   * @param module the host's kvm module, which the VM joins
   * @param hostMm where shared memory comes from
   */
  public KvmMmu(Kvm kvm, KvmModule module, MmuParams params, HostMm hostMm) {
    this.kvm = kvm;
    this.module = module;
    this.params = params;
    this.hostMm = hostMm;
    this.counters = new Stats<>(kvm.kernel(), MmuCounter.class);
    this.splits = new Stats<>(kvm.kernel(), SplitCause.class);
    this.trace = new MmuTrace(kvm.host().trace(), params.format());
    this.invalidate = new MmuInvalidate(kvm);
    this.memslots = new Memslots(kvm.kernel(), addressSpaces());
    this.attributes = new MemoryAttributes(kvm.kernel());
    this.changes = new SpteChanges(this);
    SpinLock pagesLock = kvm.kernel().spinLock(LockClass.TDP_MMU_PAGES_LOCK);
    this.roots = new TdpRoots(this, pagesLock);
    this.nxHugePages = new NxHugePages(this, pagesLock);
    this.faults = new PageFaults(this);
    this.memory = new VmMemory(this);
    this.dirtyTracking = new DirtyTracking(this);
    this.notifier = new MmuNotifier(this);
    this.rootLevel = params.rootLevel();
    this.preFaultAllowed = !kvm.type().hasMirroredTdp();
    module.add(this);
  }

  /** The VM. */
  public Kvm kvm() {
    return kvm;
  }

  /** What the bits of the VM's SPTEs mean. */
  public SpteFormat format() {
    return params.format();
  }

  /** What the MMU counts beyond the kernel's statistics. */
  public Stats<MmuCounter> counters() {
    return counters;
  }

  /** Huge leafs split, by cause. */
  public Stats<SplitCause> splits() {
    return splits;
  }

  /**
   * What no caller can bring about: bugs of KVM itself, planted to see what KVM_BUG_ON makes of
   * them.
   */
  public FaultInjector plantedBugs() {
    return plantedBugs;
  }

  /** The VM's memslots. */
  public Memslots memslots() {
    return memslots;
  }

  /** The ioctls on the VM's memory. */
  public VmMemory memory() {
    return memory;
  }

  /** How user space learns which pages the guest wrote. */
  public DirtyTracking dirtyTracking() {
    return dirtyTracking;
  }

  /** What the host's memory management calls. */
  public MmuNotifier notifier() {
    return notifier;
  }

  /** The kvm module that the VM belongs to. */
  public KvmModule module() {
    return module;
  }

  /**
   * Says how many levels the roots have: what a TD's parameters ask for ({@code
   * kvm_mmu_get_tdp_level}). Before the first root.
   */
  public void setRootLevel(PageLevel level) {
    checkState(roots.all().isEmpty(), "the VM has roots already");
    rootLevel = level;
  }

  /** Says which gfn bit selects the direct root: a TD's shared bit. Before the first root. */
  public void setGfnDirectBits(long bits) {
    checkState(roots.all().isEmpty(), "the VM has roots already");
    gfnDirectBits = bits;
  }

  /** The gfn bits that select the direct root; 0 if every gfn belongs to it. */
  public long gfnDirectBits() {
    return gfnDirectBits;
  }

  /** Gives a vCPU its MMU state. */
  public VcpuMmu addVcpu(Vcpu vcpu) {
    VcpuMmu added = new VcpuMmu(this, vcpu);
    vcpus.add(added);
    return added;
  }

  void forget(VcpuMmu vcpu) {
    vcpus.remove(vcpu);
  }

  /**
   * Handles a page fault of a vCPU with loaded roots ({@code kvm_mmu_page_fault}). No lock held.
   *
   * @param gpa bytes, with the shared bit
   * @param errorCode {@code PFERR_*} bits
   */
  public FaultOutcome handleFault(VcpuMmu vcpu, long gpa, long errorCode) {
    return faults.handle(vcpu, gpa, errorCode);
  }

  /**
   * Whether hardware finds a mapping in the direct root that lets the access through.
   *
   * @param gpa bytes, with the shared bit
   */
  public boolean isAccessible(VcpuMmu vcpu, long gpa, long errorCode) {
    PageFault access = new PageFault(this, gpa, errorCode, false);
    kvm.kernel().rcu().readLock();
    try {
      TdpIter iter = TdpIter.lastEntry(this, vcpu.directRoot(), access.gfn());
      return format().isPresentLeaf(iter.oldSpte(), iter.level())
          && format().isAccessAllowed(access, iter.oldSpte());
    } finally {
      kvm.kernel().rcu().readUnlock();
    }
  }

  /** From now on memory can be mapped before the guest touches it: a TD is finalised. */
  public void allowPreFault() {
    preFaultAllowed = true;
  }

  boolean isPreFaultAllowed() {
    return preFaultAllowed;
  }

  PreFault preFault(VcpuMmu vcpu, long gpa, long size) {
    return faults.preFault(vcpu, gpa, size);
  }

  /** Records that the guest missed an address ({@code trace_kvm_page_fault}). */
  public void traceFault(Vcpu vcpu, long rip, long gpa, long errorCode) {
    trace.pageFault(vcpu.id(), rip, gpa, errorCode);
  }

  /** Error code of a private write fault, as a TD's private faults all are. */
  public static long privateWriteError() {
    return PageFault.PRIVATE | PageFault.WRITE;
  }

  /** Error code of a shared fault. */
  public static long sharedError(boolean write, boolean exec) {
    return (write ? PageFault.WRITE : 0) | (exec ? PageFault.FETCH : 0) | PageFault.USER;
  }

  /**
   * Maps a private page at 4K while the VM is built ({@code kvm_tdp_mmu_map_private_pfn}).
   * slots_lock held.
   *
   * @return EINVAL if the gfn is not private or not backed by a guest_memfd, ENOMEM, or EIO if it
   *     cannot be mapped
   */
  public Errno mapPrivatePage(VcpuMmu vcpu, long gfn) {
    return faults.mapPrivatePage(vcpu, gfn);
  }

  /**
   * Splits the huge private leafs that stick out of a range ({@code
   * kvm_split_cross_boundary_leafs}). mmu_lock held in that mode, dropped and taken again
   * meanwhile; no TLB flush is needed or done.
   *
   * @return ENOMEM, or what the backend returned; leafs inside the range are never touched. ONE if
   *     the design loses the error
   */
  public Errno splitCrossBoundaryLeafs(GfnRange range, LockMode mode, SplitCause cause) {
    kvm.mmuLock().assertHeld(mode);
    Errno error =
        splitRoots(
            roots.valid(EnumSet.of(GfnKind.PRIVATE), 0),
            root -> HugePageSplitter.splitCrossing(this, root, range, mode, cause));
    return params.splitDesign().errors().returned(error);
  }

  /**
   * Splits every leaf above a level in a range, private or shared, before anybody needs it ({@code
   * kvm_mmu_try_split_huge_pages}). mmu_lock held in that mode, dropped and taken again meanwhile;
   * no TLB flush is needed or done.
   *
   * @return ENOMEM, or what the backend returned: EOPNOTSUPP under the read lock if private leafs
   *     can be split under the write lock only. Leafs split before stay split
   */
  public Errno splitHugePages(GfnRange range, PageLevel target, LockMode mode) {
    return splitHugePages(0, range, target, mode, SplitCause.EAGER);
  }

  /** The same in an address space, counted for a cause. */
  Errno splitHugePages(
      int asId, GfnRange range, PageLevel target, LockMode mode, SplitCause cause) {
    kvm.mmuLock().assertHeld(mode);
    return splitRoots(
        roots.valid(EnumSet.allOf(GfnKind.class), asId),
        root -> HugePageSplitter.split(this, root, range, target, mode, cause));
  }

  private Errno splitRoots(List<MmuPage> some, Function<MmuPage, Errno> splitter) {
    Errno[] error = {Errno.OK};
    roots.forEach(
        some,
        root -> {
          error[0] = splitter.apply(root);
          return !error[0].isError();
        });
    return error[0];
  }

  /**
   * Splits what sticks out of a range that is about to be unmapped. Only an external page table
   * needs it: elsewhere such a leaf is dropped whole, and faults bring the rest back. mmu_lock held
   * for write, and dropped meanwhile.
   */
  Errno splitBeforeUnmap(GfnRange range, SplitCause cause) {
    return kvm.type().hasMirroredTdp()
        ? splitCrossBoundaryLeafs(range, LockMode.EXCLUSIVE, cause)
        : Errno.OK;
  }

  /**
   * Drops the leafs in a range of an address space; true if TLBs must be flushed ({@code
   * kvm_unmap_gfn_range}). mmu_lock held for write.
   */
  boolean unmap(int asId, GfnRange range, Set<GfnKind> kinds) {
    kvm.mmuLock().assertHeld(LockMode.EXCLUSIVE);
    boolean[] flush = {false};
    roots.forEach(
        roots.matching(kinds, asId),
        root -> {
          flush[0] = zapLeafs(root, range, flush[0]);
          return true;
        });
    return flush[0];
  }

  /**
   * {@code tdp_mmu_zap_leafs}: tables stay; a leaf that sticks out of the range goes whole.
   *
   * @param pendingFlush whether an earlier zap still waits for its flush
   * @return whether a flush must follow
   */
  private boolean zapLeafs(MmuPage root, GfnRange range, boolean pendingFlush) {
    boolean flush = pendingFlush;
    SpteWriter writer = SpteWriter.forMode(this, LockMode.EXCLUSIVE);
    kvm.kernel().rcu().readLock();
    try {
      TdpIter iter = new TdpIter(this, root, PageLevel.LEVEL_4K, range.start(), range.end());
      for (; iter.isValid(); iter.next()) {
        if (iter.needResched()) {
          if (flush) {
            // Whoever gets the lock now must not meet a guest that still uses what was zapped.
            kvm.flushRemoteTlbs();
            flush = false;
          }
          iter.resched(LockMode.EXCLUSIVE);
          continue;
        }
        if (!format().isPresentLeaf(iter.oldSpte(), iter.level())) {
          continue;
        }
        writer.set(iter, SpteFormat.NONPRESENT);
        counters.increment(
            iter.level() == PageLevel.LEVEL_4K
                ? MmuCounter.SMALL_LEAFS_ZAPPED
                : MmuCounter.HUGE_LEAFS_ZAPPED);
        flush |= !root.role().isInvalid();
      }
    } finally {
      kvm.kernel().rcu().readUnlock();
    }
    return flush;
  }

  /**
   * Drops every mapping of the direct roots by replacing the roots ({@code kvm_mmu_zap_all_fast}).
   */
  void zapAllFast() {
    kvm.slotsLock().assertHeld();
    kvm.mmuLock().lock(LockMode.EXCLUSIVE);
    try {
      trace.zapAllFast(validGeneration);
      validGeneration ^= 1;
      roots.invalidate(EnumSet.of(RootKind.DIRECT));
    } finally {
      kvm.mmuLock().unlock(LockMode.EXCLUSIVE);
    }
    roots.zapInvalidated(LockMode.SHARED);
  }

  /**
   * Takes the page tables down when the VM goes ({@code kvm_mmu_uninit_tdp_mmu}). No vCPU is left;
   * a TD's key is released.
   */
  public void destroy() {
    module.remove(this);
    roots.invalidate(EnumSet.allOf(RootKind.class));
    roots.zapInvalidated(LockMode.EXCLUSIVE);
    kvm.bugOn(!roots.all().isEmpty(), "roots left after kvm_mmu_uninit_tdp_mmu");
    kvm.kernel().rcu().barrier();
  }

  /** Runs a body with mmu_lock held for write. */
  <T> T withMmuLock(Supplier<T> body) {
    kvm.mmuLock().lock(LockMode.EXCLUSIVE);
    try {
      return body.get();
    } finally {
      kvm.mmuLock().unlock(LockMode.EXCLUSIVE);
    }
  }

  /** Runs a body with slots_lock held. */
  <T> T withSlotsLock(Supplier<T> body) {
    kvm.slotsLock().lock();
    try {
      return body.get();
    } finally {
      kvm.slotsLock().unlock();
    }
  }

  /** How many sets of memslots the VM has: SMM needs one of its own, private memory forbids it. */
  int addressSpaces() {
    return kvm.type().hasPrivateMemory() ? 1 : 2;
  }

  MmuParams params() {
    return params;
  }

  NxHugePages nxHugePages() {
    return nxHugePages;
  }

  HostMm hostMm() {
    return hostMm;
  }

  MmuTrace trace() {
    return trace;
  }

  MmuInvalidate invalidate() {
    return invalidate;
  }

  MemoryAttributes attributes() {
    return attributes;
  }

  /**
   * Whether a gfn is private: by its attribute, unless its frame was converted in the guest_memfd
   * ({@code kvm_mem_is_private}). May sleep.
   */
  boolean isPrivate(long gfn) {
    if (!attributes.isPrivate(gfn)) {
      return false;
    }
    Memslot slot = memslots.find(gfn);
    return slot == null || !slot.isConverted(gfn);
  }

  SpteChanges changes() {
    return changes;
  }

  TdpRoots roots() {
    return roots;
  }

  List<VcpuMmu> vcpus() {
    return vcpus;
  }

  PageLevel rootLevel() {
    return rootLevel;
  }

  boolean isNxHugePages() {
    return module.isNxHugePages();
  }

  long maxGfnPlusOne() {
    return MAX_GFN_PLUS_ONE;
  }

  /** A table page with nothing in it. */
  MmuPage newPage(long sptPfn) {
    MmuPage page =
        new MmuPage(sptPfn, kvm.kernel().entryTable(SpteFormat.NONPRESENT, 0).named("spt"));
    kvm.pages().setPrivate(sptPfn, page);
    return page;
  }

  /** The table that a non-leaf entry points to ({@code spte_to_child_sp}). */
  MmuPage childPage(long spte) {
    @Nullable Object page = kvm.pages().getPrivate(format().pfn(spte));
    if (!(page instanceof MmuPage child)) {
      throw new IllegalStateException(
          "SPTE %x points to pfn 0x%x, which is no page table".formatted(spte, format().pfn(spte)));
    }
    return child;
  }

  /** Points the iterator's entry to a table ({@code tdp_mmu_link_sp}). */
  Errno linkTable(SpteWriter writer, TdpIter iter, MmuPage table) {
    Errno error = writer.set(iter, format().makeNonleaf(table.sptPfn));
    if (!error.isError()) {
      counters.increment(MmuCounter.TABLES_LINKED);
    }
    return error;
  }

  /** Frees a table that nobody else can see ({@code tdp_mmu_free_sp}). */
  void freeUnlinked(MmuPage page) {
    page.spt().freed();
    PageAllocator pages = kvm.pages();
    if (page.hasExternalSpt()) {
      pages.freePage(page.externalSpt(), PageOwner.EXTERNAL_PAGE_TABLE);
    }
    pages.freePage(page.sptPfn, PageOwner.MMU_PAGE_TABLE);
    pages.freeObject(MmuPage.HEADER_SLAB);
  }

  /** Frees a table once no walker can be in it any more. */
  void freeAfterGracePeriod(MmuPage page) {
    kvm.kernel().rcu().call(() -> freeUnlinked(page));
  }
}
