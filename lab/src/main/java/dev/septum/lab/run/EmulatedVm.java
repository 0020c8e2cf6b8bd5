package dev.septum.lab.run;

import static dev.septum.lab.scenario.Kind.PRIVATE;

import com.google.common.collect.Range;
import com.google.common.collect.RangeSet;
import com.google.common.collect.TreeRangeSet;
import com.google.common.primitives.ImmutableLongArray;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;
import dev.septum.lab.scenario.ByteRange;
import dev.septum.lab.scenario.Counters;
import dev.septum.lab.scenario.Kind;
import dev.septum.lab.scenario.Returns;
import dev.septum.lab.scenario.SlotSetup;
import dev.septum.lab.scenario.Step;
import dev.septum.mmu.AnonymousMemory;
import dev.septum.mmu.DirtyTracking;
import dev.septum.mmu.FaultOutcome;
import dev.septum.mmu.GuestCpu;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.MemoryRegion;
import dev.septum.mmu.Memslot;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.PreFault;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.module.SeptState;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** A VM of a scenario with its VMM: what every VM can do. */
public abstract class EmulatedVm {

  /** Where the guest's code is, in every VM. */
  public static final ByteRange CODE = new ByteRange((4L << 30) - (64L << 10), 4L << 30);

  /** A leaf of private memory as the guest meets it; the module's words say in which state. */
  public record ExternalLeaf(long gfn, PageLevel level, long pfn, SeptState state) {}

  /** {@code KVM_MEMORY_ATTRIBUTE_PRIVATE}. */
  private static final long MEMORY_ATTRIBUTE_PRIVATE = 8;

  private final String name;
  private final Function<String, GuestMemfd> files;
  private boolean destroyed;

  EmulatedVm(String name, Function<String, GuestMemfd> files) {
    this.name = name;
    this.files = files;
  }

  public final String name() {
    return name;
  }

  public abstract KvmMmu mmu();

  /** Memory that was touched, of the VMM's anonymous memory. */
  abstract AnonymousMemory userMemory();

  /** Stands for memory that could not be reserved. */
  static final long NO_MEMORY = -1;

  /**
   * The address of a slot's shared memory; what is not there on demand is reserved now.
   *
   * @return {@link #NO_MEMORY} if the host has not enough
   */
  abstract long mapUserMemory(SlotSetup slot);

  /** Pages of the VMM's own memory that are there. */
  abstract long userPages();

  /** Lets a guest touch addresses; {@code wanted} says which exits end the step. */
  abstract StepResult access(int vcpu, Step step, Predicate<String> wanted);

  /** Whether private memory has a root of its own, and shared memory another one. */
  public abstract boolean hasExternalTable();

  /** The leafs of the external page table, lowest first; nothing happens to the VM meanwhile. */
  public abstract List<ExternalLeaf> externalLeafs();

  abstract PreFault preFault(int vcpu, ByteRange range);

  abstract void destroyVm();

  public final Kvm kvm() {
    return mmu().kvm();
  }

  public final MmuView view() {
    return new MmuView(mmu());
  }

  final boolean isDestroyed() {
    return destroyed;
  }

  // Slots.

  final StepResult addSlots(List<SlotSetup> slots) {
    for (SlotSetup slot : slots) {
      Errno error = addSlot(slot);
      if (error.isError()) {
        return new StepResult(Returns.nameOf(error), "slot %d".formatted(slot.slot()));
      }
    }
    return StepResult.OK;
  }

  /** Adds a slot; ENOMEM if the host has not the memory to reserve for it. */
  final Errno addSlot(SlotSetup slot) {
    long hva = mapUserMemory(slot);
    if (hva < 0) {
      return Errno.ENOMEM;
    }
    GuestMemfd file = slot.file() == null ? null : files.apply(slot.file());
    Errno error =
        mmu()
            .memory()
            .setRegion(
                slot.id(),
                SlotSetup.Flag.bits(slot.flags()) | (file == null ? 0 : MemoryRegion.GUEST_MEMFD),
                slot.gpa().value(),
                slot.size().value(),
                hva,
                file,
                slot.offset().value());
    boolean toPrivate = slot.isPrivate() == null ? isPrivateByDefault() : slot.isPrivate();
    return error.isError() || !toPrivate
        ? error
        : mmu().memory().setAttributes(slot.range().frames(), true);
  }

  abstract boolean isPrivateByDefault();

  /** Deletes slots, by what KVM knows them by. */
  final StepResult deleteSlots(List<Integer> numbers, @Nullable Integer addressSpace) {
    for (int number : numbers) {
      Errno error = deleteSlot(SlotSetup.id(number, addressSpace));
      if (error.isError()) {
        return new StepResult(Returns.nameOf(error), "slot %d".formatted(number));
      }
    }
    return StepResult.OK;
  }

  final Errno deleteSlot(int id) {
    return mmu().memory().setRegion(MemoryRegion.delete(id));
  }

  final Errno moveSlot(int id, long gpa) {
    if (gpa % 4096 != 0) {
      return Errno.EINVAL;
    }
    return change(
        id,
        old ->
            new MemoryRegion(
                old.slot(),
                gpa >>> 12,
                old.pages(),
                old.hva(),
                old.flags(),
                old.gmem(),
                old.gmemOffset()));
  }

  final Errno setFlags(int id, List<SlotSetup.Flag> flags) {
    return change(
        id,
        old ->
            old.withFlags(SlotSetup.Flag.bits(flags) | (old.flags() & MemoryRegion.GUEST_MEMFD)));
  }

  private Errno change(int id, Function<MemoryRegion, MemoryRegion> change) {
    Memslot slot = mmu().memslots().byId(id);
    return slot == null ? Errno.EINVAL : mmu().memory().setRegion(change.apply(slot.region()));
  }

  // Memory.

  final Errno setAttributes(ByteRange range, Kind to) {
    return mmu()
        .memory()
        .setAttributes(range.start(), range.size(), to == PRIVATE ? MEMORY_ATTRIBUTE_PRIVATE : 0);
  }

  abstract Errno convert(ByteRange range, Kind to);

  /** Gives back anonymous memory behind a range ({@code MADV_DONTNEED}). */
  final Errno discard(ByteRange range) {
    forEachHva(
        range,
        (start, end) ->
            mmu()
                .notifier()
                .invalidateRange(start, end, () -> userMemory().discard(start, end - start)));
    return Errno.OK;
  }

  final Errno age(ByteRange range) {
    forEachHva(range, (start, end) -> mmu().notifier().clearYoung(start, end));
    return Errno.OK;
  }

  private interface HvaRange {
    void visit(long start, long end);
  }

  private void forEachHva(ByteRange range, HvaRange visitor) {
    for (Memslot slot : mmu().memslots().all()) {
      GfnRange part = slot.gfns().intersect(range.frames());
      if (!part.isEmpty()) {
        long start = slot.region().hva() + ((part.start() - slot.gfns().start()) << 12);
        visitor.visit(start, start + (part.pages() << 12));
      }
    }
  }

  /** Splits what sticks out of a range ({@code kvm_split_cross_boundary_leafs}). */
  final Errno split(ByteRange range, LockMode mode) {
    kvm().mmuLock().lock(mode);
    try {
      return mmu().splitCrossBoundaryLeafs(range.frames(), mode, SplitCause.MEMORY_ATTRIBUTES);
    } finally {
      kvm().mmuLock().unlock(mode);
    }
  }

  final Errno topupSplitCache() {
    return kvm().ops().topupExternalPerVmSplitCache(kvm(), PageLevel.LEVEL_2M);
  }

  // The dirty log.

  /** What a dirty log says: the guest frames, or why there is none. */
  record Dirty(Errno error, RangeSet<Long> frames) {}

  final Dirty getDirtyLog(int id) {
    DirtyTracking.DirtyLog log = mmu().dirtyTracking().getDirtyLog(id);
    Memslot slot = mmu().memslots().byId(id);
    RangeSet<Long> frames = TreeRangeSet.create();
    if (!log.error().isError() && slot != null) {
      BitSet bits = BitSet.valueOf(log.words().toArray());
      bits.stream().forEach(bit -> addFrame(frames, slot.gfns().start() + bit));
    }
    return new Dirty(log.error(), frames);
  }

  static void addFrame(RangeSet<Long> frames, long gfn) {
    frames.add(Range.closedOpen(gfn, gfn + 1));
  }

  /** Clears the bits of a slot's pages, of all or of a range. */
  final Errno clearDirtyLog(int id, @Nullable ByteRange within) {
    Memslot slot = mmu().memslots().byId(id);
    if (slot == null) {
      return Errno.ENOENT;
    }
    GfnRange part = within == null ? slot.gfns() : within.frames();
    long first = part.start() - slot.gfns().start();
    int words = Math.toIntExact((part.pages() + 63) / 64);
    ImmutableLongArray.Builder all = ImmutableLongArray.builder(words);
    for (int word = 0; word < words; word++) {
      long left = part.pages() - word * 64L;
      all.add(left >= 64 ? -1L : (1L << left) - 1);
    }
    return mmu().dirtyTracking().clearDirtyLog(id, first, part.pages(), all.build());
  }

  abstract Dirty collectDirtyRings();

  static List<ByteRange> ranges(@Nullable List<ByteRange> ranges) {
    return ranges == null ? List.of() : ranges;
  }

  /** What an access of a guest that no module answers came to. */
  static StepResult resultOf(GuestCpu.Access access, long gpa) {
    String at = "at 0x%x".formatted(gpa);
    return switch (access.result()) {
      case DONE -> StepResult.OK;
      case MMIO -> new StepResult("mmio", at);
      case DIRTY_RING_FULL -> new StepResult("dirty-ring-full", at);
      case ERROR -> {
        FaultOutcome.MemoryFault fault = access.memoryFault();
        yield fault == null
            ? new StepResult(Returns.nameOf(access.error()), at)
            : StepResult.exit("memory-fault", fault.gpa(), fault.size(), fault.isPrivate());
      }
    };
  }

  // What can be seen.

  /** Every counter of the VM by its name. */
  Map<String, Long> counters() {
    Map<String, Long> all = new TreeMap<>(kvm().stats().toMap());
    for (Vcpu vcpu : kvm().vcpus()) {
      vcpu.stats().toMap().forEach((stat, value) -> all.merge(stat, value, Long::sum));
    }
    all.putAll(mmu().counters().toMap());
    mmu().splits().toMap().forEach((cause, value) -> all.put(Counters.SPLIT + cause, value));
    return all;
  }

  /** The VM goes, with the slots that hold files of others first. */
  final void destroy() {
    if (destroyed) {
      return;
    }
    destroyed = true;
    for (Memslot slot : mmu().memslots().all()) {
      if (slot.gmem() != null && slot.id() != 0) {
        deleteSlot(slot.id());
      }
    }
    destroyVm();
  }
}
