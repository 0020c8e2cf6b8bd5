package dev.septum.it.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.it.selftest.SelftestVm.SelftestVcpu;
import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmType;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.MemoryRegion;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * {@code x86/private_mem_conversions_test}: memory becomes private and shared again, and holes are
 * punched into what is behind it.
 *
 * <p>Pages have no contents here: where the program reads a pattern back, the frame that is mapped
 * is looked at. The guest asks user space without a hypercall's exit. The program's one vCPU with
 * one slot is modelled, its options for more of them are not; two vCPUs convert at once below.
 */
final class PrivateMemConversionsTest {

  private static final int SLOT = 10;
  private static final long GPA = 0x1_0000_0000L;
  private static final long LARGE = 2 * SelftestVm.MIB;

  /** Data of a vCPU, and the area that it is rounded up to. */
  private static final long DATA = LARGE + 4096;

  private static final long AREA = 2 * LARGE;

  /** Bytes from the start of the data on. */
  private record Range(long offset, long bytes) {
    long gpa() {
      return GPA + offset;
    }

    long firstFrame() {
      return offset >>> 12;
    }

    long endFrame() {
      return (offset + bytes) >>> 12;
    }
  }

  private static final List<Range> RANGES =
      List.of(
          new Range(0, 4096),
          new Range(0, LARGE),
          new Range(4096, 4096),
          new Range(4096, LARGE),
          new Range(LARGE, 4096));

  private static final Range EVERYTHING = new Range(0, AREA);

  @RegisterExtension final SelftestHost host = new SelftestHost();

  /** The VM, and beside it what its memory must be: one bit for each frame of the area. */
  private final class Machine {
    final SelftestVm vm = host.newVm(KernelGeneration.LINUX_7_1, VmType.SW_PROTECTED);
    final PageLevel backing;
    final GuestMemfd file;
    final MemoryRegion region;
    final SelftestVcpu vcpu;
    final BitSet isPrivate = new BitSet();
    final BitSet isMapped = new BitSet();

    Machine(PageLevel backing) {
      this.backing = backing;
      this.file = vm.createFile(AREA);
      this.region = vm.addSlot(SLOT, GPA, AREA, backing, file);
      this.vcpu = vm.withCode().addVcpu();
    }

    /** The guest accesses every page of the range. */
    void touch(Range range) {
      for (long at = range.gpa(); at < range.gpa() + range.bytes; at += 4096) {
        vcpu.must(AccessKind.WRITE, at);
      }
      for (long frame = range.firstFrame(); frame < range.endFrame(); frame++) {
        GfnSpan span = spanOf(frame);
        isMapped.set(span.first, span.end);
      }
    }

    /** User space does what the guest asked for: private pages come first, or shared holes do. */
    void convert(Range range, boolean toPrivate, boolean fallocate) {
      if (fallocate) {
        allocate(range, toPrivate);
      }
      BitSet changed = new BitSet();
      changed.set((int) range.firstFrame(), (int) range.endFrame());
      BitSet alike = (BitSet) isPrivate.clone();
      alike.and(changed);
      if (alike.cardinality() != (toPrivate ? changed.cardinality() : 0)) {
        unmap(range);
      }
      if (toPrivate) {
        vm.makePrivate(range.gpa(), range.bytes);
      } else {
        vm.makeShared(range.gpa(), range.bytes);
      }
      isPrivate.set((int) range.firstFrame(), (int) range.endFrame(), toPrivate);
    }

    /** {@code fallocate}: a hole where memory is to be shared, pages where it is to be private. */
    void allocate(Range range, boolean toPrivate) {
      if (!toPrivate) {
        punch(range);
        return;
      }
      for (long frame = range.firstFrame(); frame < range.endFrame(); frame++) {
        assertThat(file.allocate(frame)).isEqualTo(Errno.OK);
      }
    }

    void punch(Range range) {
      assertThat(file.punchHole(range.firstFrame(), range.endFrame())).isEqualTo(Errno.OK);
      unmap(range);
    }

    /** A leaf that sticks out of the range goes whole. */
    private void unmap(Range range) {
      for (long frame = range.firstFrame(); frame < range.endFrame(); frame++) {
        if (isMapped.get((int) frame)) {
          GfnSpan span = spanOf(frame);
          isMapped.clear(span.first, span.end);
        }
      }
    }

    /** Frames that one leaf maps: a large page if all of it is shared and the host has one. */
    private record GfnSpan(int first, int end) {}

    private GfnSpan spanOf(long frame) {
      int chunk = (int) (frame & -512);
      boolean small = backing == PageLevel.LEVEL_4K || isMixed(chunk) || isPrivate.get(chunk);
      return small ? new GfnSpan((int) frame, (int) frame + 1) : new GfnSpan(chunk, chunk + 512);
    }

    private boolean isMixed(int chunk) {
      int privates = isPrivate.get(chunk, chunk + 512).cardinality();
      return privates != 0 && privates != 512;
    }

    /** All that is mapped, and the flags of both large pages, are as they must be. */
    void check() {
      Map<Long, Long> actual = new TreeMap<>();
      for (MappedLeaf leaf : vm.leafs(GPA, AREA)) {
        for (long i = 0; i < leaf.level().pages(); i++) {
          actual.put(leaf.gfn() + i, leaf.pfn() + i);
        }
        assertThat(leaf.level().pages())
            .isEqualTo(
                spanOf(leaf.gfn() - (GPA >>> 12)).end - spanOf(leaf.gfn() - (GPA >>> 12)).first);
      }
      Map<Long, Long> expected = new TreeMap<>();
      isMapped.stream().forEach(frame -> expected.put((GPA >>> 12) + frame, pfn(frame)));
      assertThat(actual).isEqualTo(expected);
      for (int chunk = 0; chunk < AREA >>> 12; chunk += 512) {
        assertThat(vm.view().isMixed(vm.slot(SLOT), (GPA >>> 12) + chunk, PageLevel.LEVEL_2M))
            .as("MIXED at frame %d", chunk)
            .isEqualTo(isMixed(chunk));
      }
    }

    private long pfn(long frame) {
      return isPrivate.get((int) frame)
          ? file.pfnAt(frame)
          : vm.user().pfn(region.hva() + (frame << 12));
    }
  }

  @ParameterizedTest
  @CsvSource({"LEVEL_4K, false", "LEVEL_4K, true", "LEVEL_2M, false", "LEVEL_2M, true"})
  void explicitConversion_mapsEachFrameFromWhereItBelongs(PageLevel backing, boolean fallocate) {
    Machine machine = new Machine(backing);
    machine.touch(EVERYTHING);
    machine.check();
    for (Range range : RANGES) {
      machine.convert(range, true, fallocate);
      machine.check();
      machine.touch(range.bytes > 4096 ? new Range(range.offset, 4096) : range);
      machine.check();
      convertOddPages(machine, range, fallocate);

      machine.convert(range, false, fallocate);
      machine.check();
      machine.touch(EVERYTHING);
      machine.check();
    }
    machine.convert(EVERYTHING, false, true);
    machine.touch(EVERYTHING);
    machine.check();
    assertThat(machine.file.allocatedFrames()).isZero();
    assertThat(machine.isPrivate.isEmpty()).isTrue();
  }

  /** The program does so in small ranges only, in which there is no odd page. */
  private static void convertOddPages(Machine machine, Range range, boolean fallocate) {
    machine.touch(range);
    for (long page = 1; page < range.bytes >>> 12; page += 2) {
      machine.convert(new Range(range.offset + (page << 12), 4096), false, fallocate);
    }
    machine.check();
    machine.touch(range);
    machine.check();
  }

  /** Imprecisely, the guest writes all its memory before each hole, else only the hole's place. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void punchedHole_isUnmappedAndEmpty_andNothingElseIs(boolean precise) {
    Machine machine = new Machine(PageLevel.LEVEL_2M);
    machine.touch(EVERYTHING);
    machine.convert(new Range(0, DATA), true, false);
    for (Range range : RANGES) {
      machine.punch(EVERYTHING);
      assertThat(machine.file.allocatedFrames()).isZero();
      machine.touch(precise ? range : new Range(0, DATA));
      machine.check();
      long before = machine.file.allocatedFrames();

      machine.punch(range);

      machine.check();
      assertThat(machine.file.allocatedFrames()).isEqualTo(before - (range.bytes >>> 12));
      for (long frame = range.firstFrame(); frame < range.endFrame(); frame++) {
        assertThat(machine.file.pfnAt(frame)).isEqualTo(PageAllocator.NO_PAGE);
      }
      machine.touch(range);
      machine.check();
    }
  }

  @Test
  void file_outlivesItsVm() {
    Machine machine = new Machine(PageLevel.LEVEL_4K);
    machine.convert(EVERYTHING, true, true);
    machine.touch(EVERYTHING);

    machine.vm.destroyVm();

    assertThat(machine.file.punchHole(0, AREA >>> 12)).isEqualTo(Errno.OK);
    assertThat(machine.file.allocatedFrames()).isZero();
    assertThat(machine.file.allocate(0)).isEqualTo(Errno.OK);
    assertThat(machine.file.allocatedFrames()).isEqualTo(1);
  }

  @Test
  void twoVcpusThatConvertAtOnce_leaveEachOtherAlone() {
    SelftestVm vm = host.newVm(KernelGeneration.LINUX_7_1, VmType.SW_PROTECTED);
    GuestMemfd file = vm.createFile(2 * AREA);
    vm.addSlot(SLOT, GPA, 2 * AREA, PageLevel.LEVEL_2M, file);
    vm.withCode().addVcpu();
    vm.addVcpu();

    vm.runAll(vcpu -> convertOwnArea(vm, vcpu));

    assertThat(file.allocatedFrames()).isEqualTo(2 * (DATA >>> 12));
    assertThat(vm.leafs(GPA, 2 * AREA))
        .hasSize((int) (2 * (DATA >>> 12)))
        .allMatch(leaf -> leaf.level() == PageLevel.LEVEL_4K)
        .allMatch(leaf -> leaf.pfn() == file.pfnAt(leaf.gfn() - (GPA >>> 12)));
  }

  /** All of the program's ranges become private and shared; in the end all data is private. */
  private static void convertOwnArea(SelftestVm vm, SelftestVcpu vcpu) {
    long own = GPA + vcpu.mmu().vcpu().id() * AREA;
    for (Range range : RANGES) {
      vm.makePrivate(own + range.offset, range.bytes);
      touch(vcpu, own + range.offset, range.bytes);
      vm.makeShared(own + range.offset, range.bytes);
      touch(vcpu, own + range.offset, range.bytes);
    }
    vm.makePrivate(own, DATA);
    touch(vcpu, own, DATA);
  }

  private static void touch(SelftestVcpu vcpu, long gpa, long bytes) {
    for (long at = gpa; at < gpa + bytes; at += 4096) {
      vcpu.must(AccessKind.WRITE, at);
    }
  }
}
