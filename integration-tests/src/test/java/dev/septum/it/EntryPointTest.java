package dev.septum.it;

import static dev.septum.it.TdScenario.MIB;
import static dev.septum.it.TdScenario.count;
import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.Memslot;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Every way in which user space takes private memory away, over ranges that cut leafs at their
 * head, their tail, both, inside one leaf, or not at all: what stays mapped, to the page.
 */
@EachDesign
final class EntryPointTest {

  /** The leafs that are there before: gfns 0x200 to 0xe00. */
  private static final GfnRange MAPPED = new GfnRange(0x200, 0xe00);

  /** A way to take a range of private memory away. */
  enum Way {
    /** {@code KVM_SET_MEMORY_ATTRIBUTES}. */
    ATTRIBUTES(SplitCause.MEMORY_ATTRIBUTES) {
      @Override
      Errno take(Vmm vmm, GfnRange range) {
        return TdScenario.setAttributes(vmm, range.start(), range.end(), false);
      }
    },
    /** {@code FALLOC_FL_PUNCH_HOLE}, in each file that has a part of the range. */
    PUNCH_HOLE(SplitCause.PUNCH_HOLE) {
      @Override
      Errno take(Vmm vmm, GfnRange range) {
        return inEachFile(vmm, range, GuestMemfd::punchHole);
      }
    },
    /** A conversion in place, in each file that has a part of the range. */
    CONVERSION(SplitCause.CONVERSION) {
      @Override
      Errno take(Vmm vmm, GfnRange range) {
        return inEachFile(
            vmm, range, (file, start, end) -> file.convertToShared(start, end).error());
      }
    };

    private interface FileStep {
      Errno run(GuestMemfd file, long start, long end);
    }

    private static Errno inEachFile(Vmm vmm, GfnRange range, FileStep step) {
      for (Memslot slot : vmm.kvm().mmu().memslots().all()) {
        GfnRange part = slot.gfns().intersect(range);
        long toOffset = slot.region().gmemOffset() - slot.gfns().start();
        if (!part.isEmpty()) {
          GuestMemfd file = requireNonNull(slot.gmem());
          assertThat(step.run(file, part.start() + toOffset, part.end() + toOffset))
              .isEqualTo(Errno.OK);
        }
      }
      return Errno.OK;
    }

    private final SplitCause cause;

    Way(SplitCause cause) {
      this.cause = cause;
    }

    abstract Errno take(Vmm vmm, GfnRange range);
  }

  @RegisterExtension final TdScenario host;

  EntryPointTest(TdxDesign design) {
    host = TdScenario.packed(design);
  }

  static List<Arguments> cases() {
    Map<String, GfnRange> ranges = new TreeMap<>();
    ranges.put("nothing cut", new GfnRange(0x400, 0x800));
    ranges.put("head cut", new GfnRange(0x210, 0x600));
    ranges.put("tail cut", new GfnRange(0x400, 0x610));
    ranges.put("both ends cut", new GfnRange(0x3ff, 0xa01));
    ranges.put("both ends in neighbours", new GfnRange(0x3ff, 0x401));
    ranges.put("inside one leaf", new GfnRange(0x610, 0x620));
    ranges.put("one page", new GfnRange(0x600, 0x601));
    ranges.put("all but the first page", new GfnRange(0x601, 0x800));
    ranges.put("beyond what is mapped", new GfnRange(0xdff, 0xf00));
    List<Arguments> cases = new ArrayList<>();
    for (Way way : Way.values()) {
      ranges.forEach((name, range) -> cases.add(Arguments.of(way, name, range)));
    }
    return cases;
  }

  @ParameterizedTest(name = "{0}, {1}")
  @MethodSource("cases")
  void s14_whatIsInTheRangeGoes_whatSticksOutIsSplit_theRestStays(
      Way way, String name, GfnRange range) {
    Vmm vmm = host.boot();
    assertTakes(vmm, way, range);
  }

  /** The second slot begins at gfn 0x800; each slot has a file of its own. */
  @ParameterizedTest(name = "{0}, {1}")
  @MethodSource("cases")
  void s15_theSameWithASlotBoundaryInTheMiddle(Way way, String name, GfnRange range) {
    Vmm vmm = host.bootTwoSlots();
    assertTakes(vmm, way, range);
  }

  /** Slots of a few pages each: leafs end where slots end, and the range spans all of them. */
  @ParameterizedTest
  @ValueSource(ints = {3, 7})
  void s15_manySlots_eachCutAtItsOwnEnds(int slots) {
    TdLayout.Region[] regions = new TdLayout.Region[slots];
    for (int i = 0; i < slots; i++) {
      regions[i] = new TdLayout.Region(4 * MIB * i, 4 * MIB * (i + 1));
    }
    Vmm vmm = host.boot(TdScenario.layout(1, regions));
    for (int i = 0; i < slots; i++) {
      TdScenario.accept2M(vmm, 0x400L * i, 2);
    }
    List<MappedLeaf> before = leafs(vmm);
    GfnRange range = new GfnRange(0x10, 0x400L * slots - 0x10);
    assertThat(Way.ATTRIBUTES.take(vmm, range)).isEqualTo(Errno.OK);
    assertThat(asTexts(leafs(vmm))).isEqualTo(expected(before, range));
    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isEqualTo(2);
    assertThat(count(vmm, MmuCounter.HUGE_LEAFS_ZAPPED)).isEqualTo(2L * slots - 2);
  }

  private void assertTakes(Vmm vmm, Way way, GfnRange range) {
    TdScenario.accept2M(vmm, MAPPED.start(), (int) (MAPPED.pages() / 512));
    List<MappedLeaf> before = leafs(vmm);
    long firmware = before.size() - MAPPED.pages() / 512;
    long splits = before.stream().filter(leaf -> isCut(leaf, range)).count();
    long whole = before.stream().filter(leaf -> range.contains(gfns(leaf))).count();
    long small = MAPPED.intersect(range).pages() - 512 * whole;

    Map<SeamcallLeaf, Long> calls =
        host.callsOf(() -> assertThat(way.take(vmm, range)).isEqualTo(Errno.OK));

    assertThat(asTexts(leafs(vmm))).isEqualTo(expected(before, range));
    assertThat(vmm.kvm().mmu().splits().toMap().values().stream().mapToLong(n -> n).sum())
        .isEqualTo(splits);
    assertThat(vmm.kvm().mmu().splits().get(way.cause)).isEqualTo(splits);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(splits);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(splits);
    assertThat(count(vmm, MmuCounter.HUGE_LEAFS_ZAPPED)).isEqualTo(whole);
    assertThat(count(vmm, MmuCounter.SMALL_LEAFS_ZAPPED)).isEqualTo(small);
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(splits == 0 ? 0 : 2);
    assertThat(calls.getOrDefault(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 0L)).isEqualTo(splits);
    assertThat(calls.getOrDefault(SeamcallLeaf.TDH_MEM_RANGE_BLOCK, 0L))
        .isEqualTo(splits + whole + small);
    assertThat(calls.getOrDefault(SeamcallLeaf.TDH_MEM_TRACK, 0L))
        .isEqualTo(splits + whole + small);
    assertThat(calls.getOrDefault(SeamcallLeaf.TDH_MEM_PAGE_REMOVE, 0L)).isEqualTo(whole + small);
    assertThat(firmware).as("measured pages, untouched").isEqualTo(16);
    assertCounts(before, range);
    assertMemory(vmm, way, range);
    host.checkInvariants();
  }

  /** R(G): 0 for a whole leaf, else the pages that are left of it. */
  private void assertCounts(List<MappedLeaf> before, GfnRange range) {
    for (MappedLeaf leaf : before) {
      if (leaf.level() == PageLevel.LEVEL_2M) {
        long left = isCut(leaf, range) ? 512 - gfns(leaf).intersect(range).pages() : 0;
        assertThat(host.tdx().dpamt().refcount(leaf.pfn()))
            .as("R of the leaf at gfn 0x%x", leaf.gfn())
            .isEqualTo(left);
      }
    }
  }

  /** Attributes and files at the ends of the range, inside and outside. */
  private static void assertMemory(Vmm vmm, Way way, GfnRange range) {
    MmuView mmu = new MmuView(vmm.kvm().mmu());
    boolean isShared = way != Way.PUNCH_HOLE;
    assertThat(mmu.isPrivate(range.start())).isNotEqualTo(isShared);
    assertThat(mmu.isPrivate(range.end() - 1)).isNotEqualTo(isShared);
    assertThat(mmu.isPrivate(range.start() - 1)).isTrue();
    assertThat(mmu.isPrivate(range.end())).isTrue();
    assertThat(pfnAt(vmm, range.start()) == PageAllocator.NO_PAGE).isNotEqualTo(isShared);
    assertThat(pfnAt(vmm, range.start() - 1)).isNotEqualTo(PageAllocator.NO_PAGE);
  }

  private static long pfnAt(Vmm vmm, long gfn) {
    int file = vmm.files().size() == 2 || gfn < 0x800 ? 0 : 1;
    return vmm.files().get(file).pfnAt(file == 0 ? gfn : gfn - 0x800);
  }

  private static List<MappedLeaf> leafs(Vmm vmm) {
    return new MmuView(vmm.kvm().mmu()).mirrorLeafs();
  }

  private static GfnRange gfns(MappedLeaf leaf) {
    return GfnRange.ofPages(leaf.gfn(), leaf.level().pages());
  }

  private static boolean isCut(MappedLeaf leaf, GfnRange range) {
    return gfns(leaf).overlaps(range) && !range.contains(gfns(leaf));
  }

  private static List<String> asTexts(List<MappedLeaf> leafs) {
    return leafs.stream().map(leaf -> text(leaf.gfn(), leaf.level(), leaf.pfn())).toList();
  }

  private static String text(long gfn, PageLevel level, long pfn) {
    return "%x %s %x".formatted(gfn, level, pfn);
  }

  /** Leafs by the definition: gone, cut into the pages outside the range, or as they were. */
  private static List<String> expected(List<MappedLeaf> before, GfnRange range) {
    List<String> expected = new ArrayList<>();
    for (MappedLeaf leaf : before) {
      if (!gfns(leaf).overlaps(range)) {
        expected.add(text(leaf.gfn(), leaf.level(), leaf.pfn()));
        continue;
      }
      for (int i = 0; i < leaf.level().pages(); i++) {
        if (!range.contains(leaf.gfn() + i)) {
          expected.add(text(leaf.gfn() + i, PageLevel.LEVEL_4K, leaf.pfn() + i));
        }
      }
    }
    return expected;
  }
}
