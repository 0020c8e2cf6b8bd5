package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.primitives.ImmutableLongArray;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;
import dev.septum.kvm.VmType;
import dev.septum.lab.backend.Machine;
import dev.septum.mmu.DirtyRing;
import dev.septum.mmu.DirtyTracking;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.MmuParams;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.PreFault;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A VM of the recorded kind, and what each kind of operation does to it. */
final class ReplayedVm {

  /** The guest's code: slot 0, at an address that no recording uses. */
  private static final long CODE_BYTES = 0x4000;

  private static final long CODE_HVA = 0x1000_0000_0000L;

  /** Room for every slot that a recording binds to the VM's one guest_memfd. */
  private static final long GMEM_FRAMES = 1L << 20;

  private final Kvm kvm;
  private final KvmMmu mmu;
  private final RecordedMemory memory;
  private final ImmutableList<ReplayedVcpu> vcpus;
  private @Nullable GuestMemfd gmem;
  private boolean destroyed;

  /** Creates the VM of a {@code create_vm}. */
  ReplayedVm(Machine machine, MmuParams params, RecordedMemory memory, OpFields fields)
      throws RecordingException {
    this.kvm = machine.newVm(0, type(fields));
    this.memory = memory;
    this.mmu = new KvmMmu(kvm, machine.module(), params, memory);
    require(
        fields,
        "manual_dirty_log_protect2",
        mmu.dirtyTracking().enableManualProtect(fields.intValue("manual_dirty_log_protect2")));
    long ring = fields.longValue("dirty_ring_bytes");
    if (ring != 0) {
      require(fields, "dirty_ring_bytes", mmu.dirtyTracking().enableRing(ring));
    }
    if (fields.flag("disable_quirk_slot_zap_all")) {
      mmu.memory().disableQuirkSlotZapAll();
    }
    mmu.memory().setRegion(0, 0, 0, CODE_BYTES, CODE_HVA, null, 0);
    ImmutableList.Builder<ReplayedVcpu> created = ImmutableList.builder();
    for (int id = 0; id < fields.intValue("vcpus"); id++) {
      Vcpu vcpu = machine.newVcpu(kvm, id);
      kvm.addVcpu(vcpu);
      created.add(new ReplayedVcpu(mmu.addVcpu(vcpu)));
    }
    this.vcpus = created.build();
  }

  private static VmType type(OpFields fields) throws RecordingException {
    return switch (fields.intValue("vm_type")) {
      case 0 -> VmType.DEFAULT;
      case 1 -> VmType.SW_PROTECTED;
      default -> throw fields.wrong("vm_type", fields.longValue("vm_type") + "", "0 or 1");
    };
  }

  private static void require(OpFields fields, String key, Errno error) throws RecordingException {
    if (error.isError()) {
      throw fields.wrong(key, fields.longValue(key) + "", "a value that KVM takes");
    }
  }

  KvmMmu mmu() {
    return mmu;
  }

  boolean isDestroyed() {
    return destroyed;
  }

  /** An operation begins: from here on statistics are told apart. */
  void begin() {
    vcpus.forEach(ReplayedVcpu::begin);
  }

  /** The VM's statistics. */
  ImmutableMap<String, Long> stats() {
    return ImmutableMap.copyOf(kvm.stats().toMap());
  }

  /** By how much each vCPU's statistics grew in this operation. */
  ImmutableMap<Integer, Map<String, Long>> vcpuDeltas() {
    ImmutableMap.Builder<Integer, Map<String, Long>> deltas = ImmutableMap.builder();
    vcpus.forEach(vcpu -> deltas.put(vcpu.id(), vcpu.delta()));
    return deltas.buildOrThrow();
  }

  /** The tables as text. */
  String dump() {
    return new MmuView(mmu).dump();
  }

  /**
   * Runs an operation on the VM. One that is not KVM's is the host's: what KVM saw of it are the
   * recorded calls of the MMU notifier.
   */
  OpResult run(RecordedOp op) throws RecordingException {
    OpFields fields = op.fields();
    return switch (op.name()) {
      case "set_user_memory_region" -> setRegion(fields, null, 0);
      case "set_user_memory_region2" ->
          setRegion(fields, memfd(fields), fields.longValue("gmem_off"));
      case "touch" -> touch(op);
      case "concurrent" -> new ReplayedRace(kvm, mmu, vcpus, fields).run();
      case "get_dirty_log" -> getDirtyLog(fields.intValue("slot"));
      case "clear_dirty_log" -> clearDirtyLog(fields);
      case "harvest_and_reset_dirty_ring" -> harvest();
      case "set_memory_attributes" ->
          OpResult.of(
              mmu.memory()
                  .setAttributes(
                      fields.longValue("gpa"),
                      fields.longValue("size"),
                      fields.longValue("attributes")));
      case "guest_memfd_punch_hole" -> punchHole(fields);
      case "pre_fault_memory", "prefault" -> preFault(op);
      case "destroy_vm" -> destroy();
      default -> hostActs(op);
    };
  }

  /** The host does something to the VMM's memory; what that returned is the host's affair. */
  OpResult hostActs(RecordedOp op) {
    new HostActions(op.lines()).repeat(mmu.notifier(), Integer.MAX_VALUE);
    return OpResult.of(op.outcome().rc(), op.outcome().errno());
  }

  private OpResult setRegion(OpFields fields, @Nullable GuestMemfd file, long offset)
      throws RecordingException {
    return OpResult.of(
        mmu.memory()
            .setRegion(
                fields.intValue("slot"),
                fields.intValue("flags"),
                fields.longValue("gpa"),
                fields.longValue("size"),
                fields.longValue("hva"),
                file,
                offset));
  }

  private @Nullable GuestMemfd memfd(OpFields fields) throws RecordingException {
    if ((fields.intValue("flags") & 4) == 0) {
      return null;
    }
    if (gmem == null) {
      gmem = mmu.memory().createGuestMemfd(GMEM_FRAMES, PageLevel.LEVEL_4K);
    }
    return gmem;
  }

  private OpResult touch(RecordedOp op) throws RecordingException {
    int vcpu = op.fields().intValue("vcpu");
    if (vcpu < 0 || vcpu >= vcpus.size()) {
      throw op.fields().wrong("vcpu", vcpu + "", "a vCPU of this VM");
    }
    return withHostActions(op, () -> vcpus.get(vcpu).touch(Touch.of(op.fields())));
  }

  private OpResult preFault(RecordedOp op) throws RecordingException {
    OpFields fields = op.fields();
    int vcpu = fields.has("vcpu") ? fields.intValue("vcpu") : 0;
    long gpa = fields.longValue("gpa");
    long size = fields.longValue("size");
    return withHostActions(
        op,
        () -> {
          PreFault done = vcpus.get(vcpu).preFault(gpa, size);
          return OpResult.of(done.error());
        });
  }

  private interface Body {
    OpResult run() throws RecordingException;
  }

  /** Runs a vCPU; what the host did meanwhile happens where our own fault has come as far. */
  private OpResult withHostActions(RecordedOp op, Body body) throws RecordingException {
    HostActions actions = new HostActions(op.lines());
    actions.repeat(mmu.notifier(), 0);
    memory.onLookup(() -> actions.repeat(mmu.notifier(), faults()));
    try {
      OpResult result = body.run();
      actions.repeat(mmu.notifier(), Integer.MAX_VALUE);
      return result;
    } finally {
      memory.onLookup(() -> {});
    }
  }

  /** Page faults in this operation so far. */
  private int faults() {
    return vcpus.stream().mapToInt(ReplayedVcpu::faults).sum();
  }

  private OpResult getDirtyLog(int slot) {
    DirtyTracking.DirtyLog log = mmu.dirtyTracking().getDirtyLog(slot);
    OpResult result = OpResult.of(log.error());
    return log.error().isError() ? result : result.withDirtyRanges(DirtyRanges.of(log.words()));
  }

  private OpResult clearDirtyLog(OpFields fields) throws RecordingException {
    long pages = fields.longValue("num_pages");
    ImmutableLongArray words = DirtyRanges.words(fields.pairs("bitmap_ranges"), pages);
    return OpResult.of(
        mmu.dirtyTracking()
            .clearDirtyLog(fields.intValue("slot"), fields.longValue("first_page"), pages, words));
  }

  private OpResult harvest() {
    List<long[]> entries = new ArrayList<>();
    for (ReplayedVcpu vcpu : vcpus) {
      for (DirtyRing.Entry entry : vcpu.collectDirty()) {
        entries.add(new long[] {entry.slot(), entry.offset()});
      }
    }
    int reset = mmu.dirtyTracking().resetRings();
    return OpResult.ofReturned(reset).withEntries(entries);
  }

  private OpResult punchHole(OpFields fields) throws RecordingException {
    long offset = fields.longValue("offset");
    long bytes = fields.longValue("len");
    GuestMemfd file = gmem;
    if (file == null) {
      throw fields.wrong("offset", offset + "", "in a guest_memfd: the VM has none");
    }
    return OpResult.of(
        ((offset | bytes) & 4095) != 0
            ? Errno.EINVAL
            : file.punchHole(offset >>> 12, (offset + bytes) >>> 12));
  }

  /** User space closes its guest_memfd, as it does before it lets go of the VM. */
  void closeMemfd() {
    GuestMemfd file = gmem;
    if (file != null) {
      file.release();
      gmem = null;
    }
  }

  private OpResult destroy() {
    destroyed = true;
    mmu.notifier().release();
    vcpus.forEach(ReplayedVcpu::destroy);
    mmu.destroy();
    return OpResult.of(Errno.OK);
  }
}
