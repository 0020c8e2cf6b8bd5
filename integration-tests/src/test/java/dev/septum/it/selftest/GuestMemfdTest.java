package dev.septum.it.selftest;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmType;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.MemoryRegion;
import java.util.List;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * {@code guest_memfd_test}, as far as a file here can do it.
 *
 * <p>A file has no descriptor, flags, contents or mapping of its own: read, write, fstat, mmap,
 * host faults, madvise and NUMA policies do not exist. Sizes and holes are in frames, so that the
 * ten unaligned holes cannot be asked for. Ordinary VMs have no guest_memfd, so that the guest runs
 * in a software-protected one.
 */
final class GuestMemfdTest {

  /** The program's file has four pages. */
  private static final long FRAMES = 4;

  private static final int SLOT = 1;
  private static final long GPA = 4 * SelftestVm.GIB;

  @RegisterExtension final SelftestHost host = new SelftestHost();

  private final SelftestVm vm = host.newVm(KernelGeneration.LINUX_7_1, VmType.SW_PROTECTED);

  private static List<Long> pfns(GuestMemfd file) {
    return LongStream.range(0, file.frames()).map(file::pfnAt).boxed().toList();
  }

  private static void allocateAll(GuestMemfd file) {
    for (long frame = 0; frame < file.frames(); frame++) {
      assertThat(file.allocate(frame)).isEqualTo(Errno.OK);
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {0, -1})
  void sizeWithoutAPage_isRefused(long frames) {
    assertThatThrownBy(() -> vm.memory().createGuestMemfd(frames, PageLevel.LEVEL_4K))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(Long.toString(frames));
  }

  @Test
  void twoFiles_haveSizesAndPagesOfTheirOwn() {
    GuestMemfd first = vm.createFile(4096);
    GuestMemfd second = vm.createFile(2 * 4096);
    allocateAll(first);
    allocateAll(second);

    assertThat(List.of(first.frames(), second.frames())).containsExactly(1L, 2L);
    assertThat(pfns(first)).doesNotContainAnyElementsOf(pfns(second));
    assertThat(first.punchHole(0, 1)).isEqualTo(Errno.OK);
    assertThat(second.allocatedFrames()).isEqualTo(2);
  }

  @Test
  void allocate_fillsTheFileAndNothingBeyond() {
    GuestMemfd file = vm.createFile(FRAMES << 12);
    allocateAll(file);

    assertThat(file.allocate(FRAMES)).isEqualTo(Errno.EINVAL);
    assertThat(file.allocate(FRAMES + 1)).isEqualTo(Errno.EINVAL);
    assertThat(file.allocate(-1)).isEqualTo(Errno.EINVAL);

    assertThat(file.allocatedFrames()).isEqualTo(FRAMES);
    assertThat(pfns(file)).doesNotHaveDuplicates().doesNotContain(PageAllocator.NO_PAGE);
  }

  @ParameterizedTest
  @CsvSource({"4, 5", "4, 8", "5, 6", "1, 2", "1, 9"})
  void hole_takesWhatItCoversOfTheFile_andCanBeFilledAgain(long start, long end) {
    GuestMemfd file = vm.createFile(FRAMES << 12);
    allocateAll(file);
    List<Long> before = pfns(file);

    assertThat(file.punchHole(start, end)).isEqualTo(Errno.OK);

    for (long frame = 0; frame < FRAMES; frame++) {
      boolean punched = frame >= start && frame < end;
      assertThat(file.pfnAt(frame))
          .isEqualTo(punched ? PageAllocator.NO_PAGE : before.get((int) frame));
    }
    allocateAll(file);
    assertThat(file.allocatedFrames()).isEqualTo(FRAMES);
  }

  @ParameterizedTest
  @CsvSource({"0, 0", "1, 1", "2, 1", "-1, 1"})
  void holeThatIsNoRange_isEinval(long start, long end) {
    GuestMemfd file = vm.createFile(FRAMES << 12);
    allocateAll(file);
    List<Long> before = pfns(file);

    assertThat(file.punchHole(start, end)).isEqualTo(Errno.EINVAL);

    assertThat(pfns(file)).isEqualTo(before);
  }

  @Test
  void theGuestsPage_isTheFiles() {
    GuestMemfd file = vm.createFile(4096);
    allocateAll(file);
    vm.addSlot(SLOT, GPA, 4096, PageLevel.LEVEL_4K, file);
    vm.makePrivate(GPA, 4096);
    vm.withCode().addVcpu().must(AccessKind.WRITE, GPA);

    assertThat(vm.leafs(GPA, 4096)).map(MappedLeaf::pfn).containsExactly(file.pfnAt(0));
  }

  /** The file is what binds; what a file must have for that is checked where it is bound. */
  @Test
  void unalignedOffset_cannotBeBound() {
    GuestMemfd file = vm.createFile(FRAMES << 12);
    for (long offset = 1; offset < 4096; offset++) {
      assertThat(
              vm.memory().setRegion(SLOT, MemoryRegion.GUEST_MEMFD, GPA, 4096, GPA, file, offset))
          .isEqualTo(Errno.EINVAL);
    }
    assertThat(vm.mmu().memslots().all()).isEmpty();
  }
}
