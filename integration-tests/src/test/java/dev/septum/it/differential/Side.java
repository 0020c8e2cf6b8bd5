package dev.septum.it.differential;

import dev.septum.it.differential.Mapping.Table;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Host;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.TraceSink;
import dev.septum.mmu.AnonymousMemory;
import dev.septum.mmu.FaultOutcome;
import dev.septum.mmu.GuestAccept;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.LeafsInRange;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.MemoryConversion;
import dev.septum.mmu.MemoryRegion;
import dev.septum.mmu.Memslot;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.RetPf;
import dev.septum.mmu.SplitCause;
import dev.septum.mmu.VcpuMmu;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Collectors;

/**
 * A VM of one backend on a host of its own, with two vCPUs and the memory of {@link #SLOTS}. What
 * both kinds of VM are asked to do in the same way is here.
 */
abstract class Side implements AutoCloseable {

  /**
   * The slots: eight whole 2M ranges; three and some pages, with a hole after them; ten, of which
   * the first and the last are in the slot in part; and a page that a TD must have measured, which
   * nothing touches.
   */
  static final List<GfnRange> SLOTS =
      List.of(
          new GfnRange(0, 0x1000),
          new GfnRange(0x1000, 0x16bc),
          new GfnRange(0x180d, 0x2a04),
          new GfnRange(0x4000, 0x4001));

  /** The slot that is left alone. */
  static final int FIRMWARE = 3;

  /** Everything that operations touch. */
  static final GfnRange ALL = new GfnRange(0, 0x2e00);

  static final int VCPUS = 2;

  private static final long HOST_BYTES = 128L << 20;

  /** Attempts of a fault that nobody disturbs. */
  private static final int ATTEMPTS = 100;

  private final List<MemoryRegion> regions = new ArrayList<>();

  static Host newHost() {
    Kernel kernel = Kernel.host();
    return new Host(
        kernel, new PageAllocator(kernel, HOST_BYTES, Placement.SEQUENTIAL, 1), TraceSink.OFF);
  }

  abstract String name();

  abstract KvmMmu mmu();

  abstract List<VcpuMmu> vcpus();

  abstract List<GuestMemfd> files();

  abstract AnonymousMemory userMemory();

  abstract ExternalTable external();

  /** Whether a leaf can be split under the read mmu_lock. */
  abstract boolean splitsUnderTheReadLock();

  /** Lets the guest accept memory, instruction by instruction. */
  abstract String accept(int vcpu, GfnRange range, PageLevel largest);

  /** Whether the guest has accepted some of a range and knows it. */
  boolean hasAccepted(GfnRange range) {
    return false;
  }

  /** What does not hold on the host. */
  abstract List<String> violations();

  /** Remembers the slots as they were created. */
  final void rememberSlots() {
    for (int i = 0; i < SLOTS.size(); i++) {
      regions.add(slot(i).region());
    }
  }

  private Memslot slot(int i) {
    Memslot slot = mmu().memslots().byId(i);
    if (slot == null) {
      throw new IllegalStateException(name() + " has no slot " + i);
    }
    return slot;
  }

  /** A fault, taken until it has an answer. */
  final String fault(int vcpu, long gpa, long errorCode) {
    VcpuMmu running = vcpus().get(vcpu);
    return asVcpu(
        running,
        () -> {
          for (int i = 0; i < ATTEMPTS; i++) {
            Errno error = running.load();
            if (error.isError()) {
              return "no roots: " + error;
            }
            FaultOutcome outcome = mmu().handleFault(running, gpa, errorCode);
            if (outcome.result() != RetPf.RETRY) {
              return outcome.toString();
            }
          }
          return "retries for ever";
        });
  }

  private static String asVcpu(VcpuMmu vcpu, Supplier<String> body) {
    vcpu.vcpu().load();
    try {
      return body.get();
    } finally {
      vcpu.vcpu().put();
    }
  }

  /** What KVM does for an ACCEPT that it is told of, whether or not the page is there. */
  final String honorLevel(int vcpu, long gfn, PageLevel level) {
    LockMode mode = splitsUnderTheReadLock() ? LockMode.SHARED : LockMode.EXCLUSIVE;
    Errno error = GuestAccept.honorLevel(mmu(), gfn, level, mode);
    return error + " " + fault(vcpu, gfn << 12, KvmMmu.privateWriteError());
  }

  final String preFault(int vcpu, GfnRange range) {
    VcpuMmu running = vcpus().get(vcpu);
    return asVcpu(
        running,
        () -> {
          running.load();
          return running.preFault(range.start() << 12, range.pages() << 12).toString();
        });
  }

  /** Splits what crosses a range's ends; under the write lock if it cannot be done otherwise. */
  final String splitCrossing(GfnRange range, LockMode mode) {
    return split(
        mode, lock -> mmu().splitCrossBoundaryLeafs(range, lock, SplitCause.MEMORY_ATTRIBUTES));
  }

  /** Splits every leaf of a range; under the write lock if it cannot be done otherwise. */
  final String splitAll(GfnRange range, LockMode mode) {
    return split(mode, lock -> mmu().splitHugePages(range, PageLevel.LEVEL_4K, lock));
  }

  private interface Split {
    Errno under(LockMode mode);
  }

  private String split(LockMode mode, Split split) {
    Errno error = underMmuLock(mode, split);
    boolean isUnsupported =
        error == Errno.EOPNOTSUPP && mode == LockMode.SHARED && !splitsUnderTheReadLock();
    return (isUnsupported ? underMmuLock(LockMode.EXCLUSIVE, split) : error).toString();
  }

  private Errno underMmuLock(LockMode mode, Split split) {
    mmu().kvm().mmuLock().lock(mode);
    try {
      return split.under(mode);
    } finally {
      mmu().kvm().mmuLock().unlock(mode);
    }
  }

  final String convert(GfnRange range, boolean toPrivate) {
    return MemoryConversion.convert(mmu(), userMemory(), range, toPrivate).toString();
  }

  final String setAttributes(GfnRange range, boolean isPrivate) {
    return mmu().memory().setAttributes(range, isPrivate).toString();
  }

  /** Punches a hole into the file of a slot where the slot has a range. */
  final String punchHole(int slot, GfnRange range) {
    MemoryRegion region = regions.get(slot);
    GfnRange part = SLOTS.get(slot).intersect(range);
    long start = part.start() - region.baseGfn() + region.gmemOffset();
    return files().get(slot).punchHole(start, start + part.pages()).toString();
  }

  final String deleteSlot(int slot) {
    return mmu().memory().setRegion(MemoryRegion.delete(slot)).toString();
  }

  final String addSlot(int slot) {
    return mmu().memory().setRegion(regions.get(slot)).toString();
  }

  final String renewSlot(int slot) {
    GfnRange all = SLOTS.get(slot);
    return String.join(
        " ", deleteSlot(slot), punchHole(slot, all), setAttributes(all, true), addSlot(slot));
  }

  /** Every leaf that covers a frame of the range, and which of the frames are private. */
  final State state(GfnRange range) {
    List<Mapping> mappings = new ArrayList<>();
    for (MappedLeaf leaf : LeafsInRange.mirror(mmu(), range)) {
      mappings.add(ofFile(Table.MIRROR, leaf.gfn(), leaf.level(), leaf.pfn()));
    }
    long gfn = range.start();
    while (gfn < range.end()) {
      ExternalTable.Leaf leaf = external().walk(gfn);
      if (leaf != null) {
        mappings.add(ofFile(Table.EXTERNAL, leaf.gfn(), leaf.level(), leaf.pfn()));
      }
      gfn = leaf == null ? gfn + 1 : leaf.gfn() + leaf.level().pages();
    }
    for (MappedLeaf leaf : LeafsInRange.direct(mmu(), range)) {
      mappings.add(ofUser(leaf));
    }
    MmuView view = new MmuView(mmu());
    boolean[] isPrivate = new boolean[(int) range.pages()];
    for (int i = 0; i < isPrivate.length; i++) {
      isPrivate[i] = view.isPrivate(range.start() + i);
    }
    return new State(range, mappings, isPrivate);
  }

  private Mapping ofFile(Table table, long gfn, PageLevel level, long pfn) {
    int slot = slotOf(gfn);
    if (slot < 0) {
      return new Mapping(table, gfn, level, Mapping.NOT_ITS_OWN);
    }
    MemoryRegion region = regions.get(slot);
    long first = gfn - region.baseGfn() + region.gmemOffset();
    long last = level.pages() - 1;
    GuestMemfd file = files().get(slot);
    boolean isOwn =
        file.pfnAt(first) == pfn && (last == 0 || file.pfnAt(first + last) == pfn + last);
    return new Mapping(table, gfn, level, isOwn ? first : Mapping.NOT_ITS_OWN);
  }

  private Mapping ofUser(MappedLeaf leaf) {
    int slot = slotOf(leaf.gfn());
    boolean isOwn = slot >= 0 && userMemory().faultIn(hva(slot, leaf.gfn()), true) == leaf.pfn();
    return new Mapping(
        Table.DIRECT, leaf.gfn(), leaf.level(), isOwn ? leaf.gfn() : Mapping.NOT_ITS_OWN);
  }

  private long hva(int slot, long gfn) {
    MemoryRegion region = regions.get(slot);
    return region.hva() + ((gfn - region.baseGfn()) << 12);
  }

  private static int slotOf(long gfn) {
    for (int i = 0; i < SLOTS.size(); i++) {
      if (SLOTS.get(i).contains(gfn)) {
        return i;
      }
    }
    return -1;
  }

  /** What there is beside leafs: the external page table's tables, and the splits so far. */
  final String tablesAndSplits() {
    String tables =
        external().tables().stream()
            .filter(table -> ALL.contains(table.gfn()) && table.level() == PageLevel.LEVEL_2M)
            .map(table -> "0x" + Long.toHexString(table.gfn()))
            .sorted()
            .collect(Collectors.joining(" "));
    return "tables of 4K entries at %s, splits %s".formatted(tables, mmu().splits().toMap());
  }

  @Override
  public abstract void close();
}
