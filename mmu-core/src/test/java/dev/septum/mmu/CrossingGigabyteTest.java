package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * A mirror leaf of 1G under a cross-boundary split: 1G becomes 2M, and only those 2M leafs that
 * still cross an end become 4K. No TD maps 1G, so the leaf is written here.
 */
class CrossingGigabyteTest {

  private static final long PAGES = PageLevel.LEVEL_1G.pages();
  private static final long START = PAGES;
  private static final long END = START + PAGES;

  private final TestVm vm = TestVm.td();
  private final GuestMemfd gmem = allocateAlignedGigabyte();

  @BeforeEach
  void mapTheGigabyte() {
    vm.addPrivate(START, PAGES, gmem, 0);
    // A mapping elsewhere brings the table of 1G entries to put the leaf in.
    vm.addPrivate(0, 1, PageLevel.LEVEL_4K);
    vm.map(0, TestVm.PRIVATE_WRITE);
    long leaf =
        vm.mmu.format().makeLeaf(PageLevel.LEVEL_1G, gmem.pfnAt(0), LeafTraits.WRITABLE, true);
    assertThat(vm.write(vm.mirrorRoot(), START, PageLevel.LEVEL_1G, LockMode.SHARED, leaf))
        .isEqualTo(Errno.OK);
    vm.events.clear();
  }

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  /** A guest_memfd of 1 GiB whose frames lie in a row from a 1 GiB boundary. */
  private GuestMemfd allocateAlignedGigabyte() {
    List<Long> burnt = new ArrayList<>();
    while (burnt.isEmpty() || burnt.get(burnt.size() - 1) != 0x180000 - 512) {
      burnt.add(vm.pages().allocFolio(PageOwner.TD_CONTROL, Gfp.KERNEL));
    }
    GuestMemfd file = vm.newGmem(PAGES, PageLevel.LEVEL_2M);
    for (long index = 0; index < PAGES; index += 512) {
      assertThat(file.allocate(index)).isEqualTo(Errno.OK);
    }
    burnt.forEach(pfn -> vm.pages().freeFolio(pfn, PageOwner.TD_CONTROL));
    assertThat(file.pfnAt(0)).isEqualTo(0x180000);
    return file;
  }

  /** Ranges, and the leafs that a split of their ends splits: first gfn and level. */
  static Stream<Arguments> ranges() {
    return Stream.of(
        range("the whole leaf", START, END),
        range("more than the leaf", START - 5, END + 5),
        range("head on a 2M boundary", START + 0x200, END, "40000 3"),
        range("tail on a 2M boundary", START, END - 0x200, "40000 3"),
        range("one whole 2M part", START + 0x200, START + 0x400, "40000 3"),
        range("head", START + 1, END, "40000 3", "40000 2"),
        range("tail", START, END - 1, "40000 3", "7fe00 2"),
        range("both ends", START + 0x201, END - 0x201, "40000 3", "40200 2", "7fc00 2"),
        range("in one 2M part", START + 0x210, START + 0x220, "40000 3", "40200 2"),
        range("in two", START + 0x3ff, START + 0x401, "40000 3", "40200 2", "40400 2"),
        range("up to a 2M boundary", START + 0x210, START + 0x400, "40000 3", "40200 2"),
        range("across the start", START - 5, START + 5, "40000 3", "40000 2"));
  }

  private static Arguments range(String name, long start, long end, String... splits) {
    return Arguments.of(name, new GfnRange(start, end), List.of(splits));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("ranges")
  void crossing_splits1GThenThe2MLeafsThatStillCross(
      String name, GfnRange range, List<String> splits) {
    assertThat(split(range)).isEqualTo(Errno.OK);

    assertThat(splitEvents()).isEqualTo(splits);
    long to4K = splits.stream().filter(split -> split.endsWith(" 2")).count();
    assertThat(vm.leafCounts())
        .containsExactly(
            1 + 512 * to4K, splits.isEmpty() ? 0 : 512 - to4K, splits.isEmpty() ? 1L : 0L);
    assertThat(vm.mmu.counters().get(MmuCounter.MIRROR_SPLITS)).isEqualTo(splits.size());
    assertThat(vm.mmu.counters().get(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(splits.size());
    for (MappedLeaf leaf : vm.view.mirrorLeafs()) {
      if (leaf.gfn() >= START) {
        assertThat(leaf.pfn()).as("gfn 0x%x", leaf.gfn()).isEqualTo(gmem.pfnAt(leaf.gfn() - START));
      }
    }
  }

  private Errno split(GfnRange range) {
    vm.mmuLock().lock(LockMode.EXCLUSIVE);
    try {
      return vm.mmu.splitCrossBoundaryLeafs(range, LockMode.EXCLUSIVE, SplitCause.PUNCH_HOLE);
    } finally {
      vm.mmuLock().unlock(LockMode.EXCLUSIVE);
    }
  }

  /** The leafs that the backend was asked to split, in its order. */
  private List<String> splitEvents() {
    String prefix = "split_external_spte: gfn ";
    return vm.events.stream()
        .filter(event -> event.startsWith(prefix))
        .map(event -> event.substring(prefix.length()).replace("level ", ""))
        .toList();
  }

  @Test
  void hole_inside1G_takesJustItsPages() {
    assertThat(gmem.punchHole(0x210, 0x620)).isEqualTo(Errno.OK);

    assertThat(splitEvents()).containsExactly("40000 3", "40200 2", "40600 2");
    assertThat(vm.leafCounts()).containsExactly(1L + 0x10 + 0x1e0, 512L - 3, 0L);
    assertThat(gmem.pfnAt(0x210)).isEqualTo(PageAllocator.NO_PAGE);
  }

  /** What was split stays split; nothing is unmapped, and the second attempt needs two less. */
  @Test
  void crossing_withoutMemoryForTheThirdTable_leavesEverythingMapped() {
    vm.pages().faults().failNext(PageOwner.MMU_PAGE_TABLE.tag(), 3);

    assertThat(split(new GfnRange(START + 1, END - 1))).isEqualTo(Errno.ENOMEM);

    assertThat(splitEvents()).containsExactly("40000 3", "40000 2");
    assertThat(vm.leafCounts()).containsExactly(1L + 512, 511L, 0L);
    assertThat(split(new GfnRange(START + 1, END - 1))).isEqualTo(Errno.OK);
    assertThat(splitEvents()).containsExactly("40000 3", "40000 2", "7fe00 2");
  }
}
