package dev.septum.it.selftest;

import static dev.septum.it.selftest.ConvertibleVm.GPA;
import static dev.septum.it.selftest.ConvertibleVm.SLOT;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.it.selftest.ConvertibleVm.Range;
import dev.septum.it.selftest.SelftestVm.SelftestVcpu;
import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmType;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KernelGeneration;
import java.util.List;
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

  private static final long LARGE = 2 * SelftestVm.MIB;

  /** Data of a vCPU, and the area that it is rounded up to. */
  private static final long DATA = LARGE + 4096;

  private static final long AREA = 2 * LARGE;

  private static final List<Range> RANGES =
      List.of(
          new Range(0, 4096),
          new Range(0, LARGE),
          new Range(4096, 4096),
          new Range(4096, LARGE),
          new Range(LARGE, 4096));

  private static final Range EVERYTHING = new Range(0, AREA);

  @RegisterExtension final SelftestHost host = new SelftestHost();

  private final SelftestVm vm = host.newVm(KernelGeneration.LINUX_7_1, VmType.SW_PROTECTED);

  private ConvertibleVm newVm(PageLevel backing) {
    return new ConvertibleVm(vm, AREA, backing);
  }

  @ParameterizedTest
  @CsvSource({"LEVEL_4K, false", "LEVEL_4K, true", "LEVEL_2M, false", "LEVEL_2M, true"})
  void explicitConversion_mapsEachFrameFromWhereItBelongs(PageLevel backing, boolean fallocate) {
    ConvertibleVm memory = fallocate ? newVm(backing).withFallocate() : newVm(backing);
    memory.touch(EVERYTHING);
    memory.check();
    for (Range range : RANGES) {
      memory.makePrivate(range);
      memory.check();
      memory.touch(range.bytes() > 4096 ? new Range(range.offset(), 4096) : range);
      memory.check();
      shareOddPages(memory, range);

      memory.makeShared(range);
      memory.check();
      memory.touch(EVERYTHING);
      memory.check();
    }
    memory.withFallocate().makeShared(EVERYTHING);
    memory.touch(EVERYTHING);
    memory.check();
    assertThat(memory.file().allocatedFrames()).isZero();
  }

  /** The program does so in small ranges only, in which there is no odd page. */
  private static void shareOddPages(ConvertibleVm memory, Range range) {
    memory.touch(range);
    for (long page = 1; page < range.bytes() >>> 12; page += 2) {
      memory.makeShared(new Range(range.offset() + (page << 12), 4096));
    }
    memory.check();
    memory.touch(range);
    memory.check();
  }

  /** Imprecisely, the guest writes all its memory before each hole, else only the hole's place. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void punchedHole_isUnmappedAndEmpty_andNothingElseIs(boolean precise) {
    ConvertibleVm memory = newVm(PageLevel.LEVEL_2M);
    memory.touch(EVERYTHING);
    memory.makePrivate(new Range(0, DATA));
    for (Range range : RANGES) {
      memory.punch(EVERYTHING);
      assertThat(memory.file().allocatedFrames()).isZero();
      memory.touch(precise ? range : new Range(0, DATA));
      memory.check();
      long before = memory.file().allocatedFrames();

      memory.punch(range);

      memory.check();
      assertThat(memory.file().allocatedFrames()).isEqualTo(before - (range.bytes() >>> 12));
      for (long frame = range.firstFrame(); frame < range.endFrame(); frame++) {
        assertThat(memory.file().pfnAt(frame)).isEqualTo(PageAllocator.NO_PAGE);
      }
      memory.touch(range);
      memory.check();
    }
  }

  @Test
  void file_outlivesItsVm() {
    ConvertibleVm memory = newVm(PageLevel.LEVEL_4K);
    memory.withFallocate().makePrivate(EVERYTHING);
    memory.touch(EVERYTHING);

    vm.destroyVm();

    assertThat(memory.file().punchHole(0, AREA >>> 12)).isEqualTo(Errno.OK);
    assertThat(memory.file().allocatedFrames()).isZero();
    assertThat(memory.file().allocate(0)).isEqualTo(Errno.OK);
    assertThat(memory.file().allocatedFrames()).isEqualTo(1);
  }

  @Test
  void twoVcpusThatConvertAtOnce_leaveEachOtherAlone() {
    GuestMemfd file = vm.createFile(2 * AREA);
    vm.addSlot(SLOT, GPA, 2 * AREA, PageLevel.LEVEL_2M, file);
    vm.withCode().addVcpu();
    vm.addVcpu();

    vm.runAll(this::convertOwnArea);

    assertThat(file.allocatedFrames()).isEqualTo(2 * (DATA >>> 12));
    assertThat(vm.leafs(GPA, 2 * AREA))
        .hasSize((int) (2 * (DATA >>> 12)))
        .allMatch(leaf -> leaf.level() == PageLevel.LEVEL_4K)
        .allMatch(leaf -> leaf.pfn() == file.pfnAt(leaf.gfn() - (GPA >>> 12)));
  }

  /** All of the program's ranges become private and shared; in the end all data is private. */
  private void convertOwnArea(SelftestVcpu vcpu) {
    long own = GPA + vcpu.mmu().vcpu().id() * AREA;
    for (Range range : RANGES) {
      vm.makePrivate(own + range.offset(), range.bytes());
      touch(vcpu, own + range.offset(), range.bytes());
      vm.makeShared(own + range.offset(), range.bytes());
      touch(vcpu, own + range.offset(), range.bytes());
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
