package dev.septum.mmu;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.mockito.Mockito.spy;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Host;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Splat;
import dev.septum.kvm.TraceSink;
import dev.septum.kvm.Vcpu;
import dev.septum.kvm.VmStat;
import dev.septum.kvm.VmType;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A VM on a host of 8 GiB, with one vCPU whose roots are loaded. Trace events and ops are kept in
 * the order in which they happened.
 */
final class TestVm extends Kvm {

  /** The bit of a gfn that selects a TD's shared memory: GPA bit 47. */
  static final long SHARED_BIT = 1L << 35;

  static final long WRITE = KvmMmu.sharedError(true, false);
  static final long READ = KvmMmu.sharedError(false, false);
  static final long EXEC = KvmMmu.sharedError(false, true);
  static final long PRIVATE_WRITE = KvmMmu.privateWriteError();

  /** What there is to compare before and after something that must change nothing. */
  record State(
      String dump,
      Map<String, Long> stats,
      Map<PageOwner, Long> census,
      Map<String, Long> objects,
      Map<Long, PageLevel> external) {}

  final List<String> events;
  final TestBackend ops;
  final TestMemory memory;
  final KvmMmu mmu;
  final MmuView view;
  final VcpuMmu vcpu;
  final TestKernel hooks;
  private final List<GuestMemfd> gmems = new ArrayList<>();
  private @Nullable String expectedBug;

  private static final class TestVcpu extends Vcpu {
    TestVcpu(Kvm kvm, int id) {
      super(kvm, id);
    }
  }

  private TestVm(
      VmType type,
      KvmModule module,
      MmuParams params,
      Host host,
      List<String> events,
      TestKernel hooks) {
    this(type, module, params, host, events, hooks, spy(new TestBackend(host.pages(), events)));
  }

  private TestVm(
      VmType type,
      KvmModule module,
      MmuParams params,
      Host host,
      List<String> events,
      TestKernel hooks,
      TestBackend backend) {
    super(0, host, backend, type);
    this.events = events;
    this.hooks = hooks;
    this.ops = backend;
    this.memory = new TestMemory(host.pages());
    this.mmu = new KvmMmu(this, module, params, memory);
    this.view = new MmuView(mmu);
    if (type.hasMirroredTdp()) {
      mmu.setGfnDirectBits(SHARED_BIT);
    }
    this.vcpu = newVcpu();
    events.clear();
  }

  static TestVm of(VmType type, MmuParams params) {
    return of(type, KernelGeneration.LINUX_7_1, params);
  }

  /** A VM on a kernel that maps huge pages non-executable. */
  static TestVm nx() {
    return nx(KernelGeneration.LINUX_7_1, SpteFormat.ept());
  }

  static TestVm nx(KernelGeneration generation, SpteFormat format) {
    TestVm vm = of(VmType.DEFAULT, generation, MmuParams.of(format));
    assertThat(vm.mmu.module().setParameter("nx_huge_pages", "force")).isEqualTo(Errno.OK);
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
    vm.events.clear();
    return vm;
  }

  static TestVm of(VmType type, KernelGeneration generation, MmuParams params) {
    List<String> events = Collections.synchronizedList(new ArrayList<>());
    TestKernel kernel = new TestKernel();
    TraceSink trace =
        new TraceSink() {
          @Override
          public boolean isOn() {
            return true;
          }

          @Override
          public void event(String name, String fields) {
            events.add(name + ": " + fields);
            kernel.event(name);
          }
        };
    PageAllocator pages = new PageAllocator(kernel, 8L << 30, Placement.SEQUENTIAL, 0);
    KvmModule module = new KvmModule(kernel, generation);
    return new TestVm(type, module, params, new Host(kernel, pages, trace), events, kernel);
  }

  /** An ordinary VM on a kernel of that generation. */
  static TestVm of(KernelGeneration generation, SpteFormat format) {
    return of(VmType.DEFAULT, generation, MmuParams.of(format));
  }

  static TestVm of(VmType type, SpteFormat format) {
    return of(type, MmuParams.of(format));
  }

  static TestVm ordinary() {
    return of(VmType.DEFAULT, SpteFormat.ept());
  }

  static TestVm npt() {
    return of(VmType.DEFAULT, SpteFormat.npt());
  }

  static TestVm swProtected() {
    return of(VmType.SW_PROTECTED, SpteFormat.ept());
  }

  static TestVm td() {
    return of(VmType.TDX, SpteFormat.eptForTd());
  }

  /** Another vCPU, its roots loaded. */
  VcpuMmu newVcpu() {
    Vcpu added = new TestVcpu(this, vcpus().size());
    addVcpu(added);
    VcpuMmu addedMmu = mmu.addVcpu(added);
    assertThat(addedMmu.load()).isEqualTo(Errno.OK);
    return addedMmu;
  }

  /** A memslot whose pages have the numbers of its gfns. */
  Memslot addShared(long gfn, long pages) {
    return add(MemoryRegion.shared(nextSlot(), gfn, pages, gfn << 12));
  }

  /** A memslot backed by a new guest_memfd of its size, all of it private. */
  GuestMemfd addPrivate(long gfn, long pages, PageLevel folios) {
    GuestMemfd gmem = newGmem(pages, folios);
    addPrivate(gfn, pages, gmem, 0);
    return gmem;
  }

  Memslot addPrivate(long gfn, long pages, GuestMemfd gmem, long offset) {
    Memslot slot = add(MemoryRegion.withGmem(nextSlot(), gfn, pages, gfn << 12, gmem, offset));
    assertThat(mmu.memory().setAttributes(GfnRange.ofPages(gfn, pages), true)).isEqualTo(Errno.OK);
    return slot;
  }

  GuestMemfd newGmem(long pages, PageLevel folios) {
    GuestMemfd gmem = mmu.memory().createGuestMemfd(pages, folios);
    gmems.add(gmem);
    return gmem;
  }

  /** The frame that would be allocated next is another one from now on. */
  void holdPages(int count) {
    for (int i = 0; i < count; i++) {
      pages().allocPage(PageOwner.TD_CONTROL, Gfp.KERNEL);
    }
  }

  Memslot add(MemoryRegion region) {
    assertThat(mmu.memory().setRegion(region)).isEqualTo(Errno.OK);
    return slot(region.slot());
  }

  /** The slot of that number; address space in bits 31:16. */
  Memslot slot(int slot) {
    return requireNonNull(mmu.memslots().byId(slot));
  }

  /** Changes the flags of slot 0. */
  void setFlags(int flags) {
    add(slot(0).region().withFlags(flags));
  }

  void setParameter(String name, String value) {
    assertThat(mmu.module().setParameter(name, value)).isEqualTo(Errno.OK);
  }

  /** The dirty bitmap of slot 0. */
  DirtyBitmap bitmap() {
    return requireNonNull(slot(0).dirtyBitmap());
  }

  /** The pages of slot 0 that are marked dirty, by their offset. */
  List<Long> dirty() {
    DirtyBitmap bitmap = bitmap();
    List<Long> pages = new ArrayList<>();
    for (int i = 0; i < bitmap.words(); i++) {
      for (long left = bitmap.word(i); left != 0; left &= left - 1) {
        pages.add(i * 64L + Long.numberOfTrailingZeros(left));
      }
    }
    return pages;
  }

  private int nextSlot() {
    return mmu.memslots().all().stream().mapToInt(Memslot::id).max().orElse(-1) + 1;
  }

  FaultOutcome fault(long gfn, long errorCode) {
    return mmu.handleFault(vcpu, gfn << 12, errorCode);
  }

  /** A fault that must do what its caller needs. */
  void map(long gfn, long errorCode) {
    assertThat(fault(gfn, errorCode)).isEqualTo(FaultOutcome.of(RetPf.FIXED));
  }

  MmuPage directRoot() {
    return root(RootKind.DIRECT);
  }

  MmuPage mirrorRoot() {
    return root(RootKind.MIRROR);
  }

  private MmuPage root(RootKind kind) {
    return mmu.roots().all().stream()
        .filter(r -> RootKind.of(r) == kind && !r.role().isInvalid())
        .findFirst()
        .orElseThrow();
  }

  /** Runs a body on the iterator at the gfn's entry of a level, mmu_lock held in that mode. */
  <T> T at(MmuPage root, long gfn, PageLevel level, LockMode mode, Function<TdpIter, T> body) {
    mmuLock().lock(mode);
    kernel().rcu().readLock();
    try {
      TdpIter iter = new TdpIter(mmu, root, level, gfn, gfn + 1);
      while (iter.level() != level) {
        iter.next();
        if (!iter.isValid()) {
          throw new IllegalStateException("no table for gfn 0x" + Long.toHexString(gfn));
        }
      }
      return body.apply(iter);
    } finally {
      kernel().rcu().readUnlock();
      mmuLock().unlock(mode);
    }
  }

  /** Writes the gfn's entry of a level with the writer of that mode. */
  Errno write(MmuPage root, long gfn, PageLevel level, LockMode mode, long spte) {
    return at(root, gfn, level, mode, i -> SpteWriter.forMode(mmu, mode).set(i, spte));
  }

  /** Overwrites the gfn's entry of a level behind everybody's back. */
  void corrupt(MmuPage root, long gfn, PageLevel level, long spte) {
    at(
        root,
        gfn,
        level,
        LockMode.EXCLUSIVE,
        iter -> {
          iter.table().spt().set(iter.index(), spte);
          return Errno.OK;
        });
  }

  /** Overwrites the gfn's entry of a level, whatever lock the caller holds. */
  void poke(long gfn, PageLevel level, long spte) {
    kernel().rcu().readLock();
    try {
      TdpIter iter = new TdpIter(mmu, directRoot(), level, gfn, gfn + 1);
      while (iter.level() != level) {
        iter.next();
      }
      iter.table().spt().set(iter.index(), spte);
    } finally {
      kernel().rcu().readUnlock();
    }
  }

  /** How often TLBs were to be flushed. */
  long flushes() {
    return stats().get(VmStat.REMOTE_TLB_FLUSH_REQUESTS);
  }

  long spte(MmuPage root, long gfn, PageLevel level) {
    return at(root, gfn, level, LockMode.SHARED, TdpIter::oldSpte);
  }

  /** What a hardware walk for the gfn ends at, read without mmu_lock. */
  long peek(MmuPage root, long gfn) {
    kernel().rcu().readLock();
    try {
      return TdpIter.lastEntry(mmu, root, gfn).oldSpte();
    } finally {
      kernel().rcu().readUnlock();
    }
  }

  State state() {
    return new State(
        view.dump(), stats().toMap(), pages().census(), pages().objects(), ops.leafs());
  }

  /** Leafs by level, as the statistics count them: 4K, 2M, 1G. */
  List<Long> leafCounts() {
    return List.of(
        stats().get(VmStat.PAGES_4K), stats().get(VmStat.PAGES_2M), stats().get(VmStat.PAGES_1G));
  }

  List<String> takeEvents() {
    List<String> taken = List.copyOf(events);
    events.clear();
    return taken;
  }

  void assertSound() {
    assertThat(view.violations()).isEmpty();
    kernel().locks().assertNoneHeld("the end of the test");
    assertThat(pages().census()).isEqualTo(pages().recount());
    Map<Long, PageLevel> mirror = new TreeMap<>();
    view.mirrorLeafs().forEach(leaf -> mirror.put(leaf.gfn(), leaf.level()));
    assertThat(ops.leafs()).isEqualTo(mirror);
    assertThat(bug()).isEqualTo(expectedBug);
  }

  private @Nullable String bug() {
    Splat found = splat();
    return found == null ? null : found.expression();
  }

  /** The VM must be bugged for that reason, now and for the rest of the test. */
  void assertBugged(String expression) {
    assertThat(bug()).isEqualTo(expression);
    expectedBug = expression;
  }

  /** The state is sound, and when the VM is gone nothing of it is left. */
  void assertSoundAndDestroy() {
    assertSound();
    destroy();
    assertThat(bug()).isEqualTo(expectedBug);
    assertNothingLeft();
  }

  void destroy() {
    gmems.forEach(GuestMemfd::release);
    List.copyOf(mmu.vcpus()).forEach(VcpuMmu::destroy);
    mmu.destroy();
    memory.freeAll();
  }

  void assertNothingLeft() {
    Map<PageOwner, Long> owned = pages().census();
    owned.remove(PageOwner.TD_CONTROL);
    owned.values().removeIf(count -> count == 0);
    assertThat(owned.keySet()).containsExactly(PageOwner.FREE);
    assertThat(pages().objects()).isEmpty();
    assertThat(view.dump()).isEqualTo("root none\n");
    assertThat(leafCounts()).containsExactly(0L, 0L, 0L);
  }
}
