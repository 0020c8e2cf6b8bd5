package dev.septum.mmu;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.Mockito.doReturn;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.TraceSink;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The trace of whole operations, line by line, as the kernel prints it. */
class MmuTraceTest {

  private static final long GFN = 0x123456;
  private static final long HUGE = 0x123400;

  private TestVm vm = TestVm.ordinary();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  private void use(TestVm other) {
    vm.assertSoundAndDestroy();
    vm = other;
  }

  @Test
  void firstTouch_ept2M() {
    vm.addShared(HUGE, 0x200);
    vm.memory.setLevel(PageLevel.LEVEL_2M);

    vm.map(GFN, TestVm.WRITE);

    assertThat(vm.takeEvents())
        .containsExactly(
            "kvm_mmu_spte_requested: gfn 123456 pfn 123456 level 2",
            "kvm_mmu_get_page: sp gen 0 gfn 0 l3 8-byte q0 direct wux nxe ad root 0 sync new",
            changed(0, 4, SpteFormat.NONPRESENT, nonleaf(PageLevel.LEVEL_1G)),
            "kvm_mmu_get_page: sp gen 0 gfn 100000 l2 8-byte q0 direct wux nxe ad root 0 sync"
                + " new",
            changed(0x100000, 3, SpteFormat.NONPRESENT, nonleaf(PageLevel.LEVEL_2M)),
            changed(HUGE, 2, SpteFormat.NONPRESENT, 0x8600000123400bf7L),
            "kvm_mmu_set_spte: gfn 123400 spte 8600000123400bf7 (rwxu) level 2 at %x"
                .formatted(sptePa(PageLevel.LEVEL_2M, 0x11a)),
            "tdp_map_ret: ret_pf=5");
  }

  @Test
  void firstTouch_npt2M() {
    use(TestVm.npt());
    vm.addShared(HUGE, 0x200);
    vm.memory.setLevel(PageLevel.LEVEL_2M);

    vm.map(GFN, TestVm.READ);

    List<String> events = vm.takeEvents();
    assertThat(events.get(5)).isEqualTo(changed(HUGE, 2, SpteFormat.NONPRESENT, 0x123400ee7L));
    assertThat(events.get(6))
        .startsWith("kvm_mmu_set_spte: gfn 123400 spte 123400ee7 (rwxu) level 2 at ");
    assertThat(nonleaf(PageLevel.LEVEL_2M) & 0xfff).isEqualTo(0x827);
  }

  @Test
  void split_getPageThenChangeThenSplit() {
    map2M();

    assertThat(split()).isEqualTo(Errno.OK);

    assertThat(vm.takeEvents())
        .containsExactly(
            "kvm_mmu_get_page: sp gen 0 gfn 123400 l1 8-byte q0 direct wux nxe ad root 0 sync"
                + " new",
            changed(HUGE, 2, 0x8600000123400bf7L, nonleaf(PageLevel.LEVEL_4K)),
            "kvm_mmu_split_huge_page: gfn 123400 spte 8600000123400bf7 level 2 errno 0");
  }

  @Test
  void split_noMemory_isOneLine() {
    map2M();
    vm.pages().faults().failNext(MmuPage.HEADER_SLAB, 1);

    assertThat(split()).isEqualTo(Errno.ENOMEM);

    assertThat(vm.takeEvents())
        .containsExactly(
            "kvm_mmu_split_huge_page: gfn 123400 spte 8600000123400bf7 level 2 errno -12");
  }

  @Test
  void split_lostRace_showsTheAttemptAndThenTheSamePageAgain() {
    use(TestVm.td());
    vm.addPrivate(HUGE, 0x200, PageLevel.LEVEL_2M);
    vm.map(GFN, TestVm.PRIVATE_WRITE);
    vm.events.clear();
    doReturn(Errno.EAGAIN)
        .doCallRealMethod()
        .when(vm.ops)
        .splitExternalSpte(any(), anyLong(), any(), anyLong(), anyLong(), any());

    long old = vm.spte(vm.mirrorRoot(), GFN, PageLevel.LEVEL_2M);
    assertThat(splitPrivate()).isEqualTo(Errno.OK);

    String getPage =
        "kvm_mmu_get_page: sp gen 0 gfn 123400 l1 8-byte q0 direct wux nxe ad root 0 sync new";
    String splitHugePage = "kvm_mmu_split_huge_page: gfn 123400 spte %x level 2 errno %d";
    assertThat(vm.takeEvents())
        .containsExactly(
            getPage,
            splitHugePage.formatted(old, -11),
            getPage,
            "split_external_spte: gfn 123400 level 2",
            changed(HUGE, 2, old, vm.spte(vm.mirrorRoot(), GFN, PageLevel.LEVEL_2M)),
            splitHugePage.formatted(old, 0));
  }

  @Test
  void privateFirstTouch_opsComeBeforeTheEventOfTheirEntry() {
    use(TestVm.td());
    GuestMemfd gmem = vm.addPrivate(HUGE, 0x200, PageLevel.LEVEL_4K);
    vm.events.clear();

    vm.map(GFN, TestVm.PRIVATE_WRITE);

    long pfn = gmem.pfnAt(GFN - HUGE);
    long leaf = 0x8600000000000b37L | (pfn << 12);
    String page = " 8-byte q0 direct wux nxe ad root 0 sync new";
    assertThat(vm.takeEvents())
        .containsExactly(
            "kvm_mmu_spte_requested: gfn 123456 pfn %x level 1".formatted(pfn),
            "kvm_mmu_get_page: sp gen 0 gfn 0 l3" + page,
            "link_external_spt: gfn 0 level 4",
            changed(0, 4, SpteFormat.NONPRESENT, mirrorEntry(PageLevel.LEVEL_512G)),
            "kvm_mmu_get_page: sp gen 0 gfn 100000 l2" + page,
            "link_external_spt: gfn 100000 level 3",
            changed(0x100000, 3, SpteFormat.NONPRESENT, mirrorEntry(PageLevel.LEVEL_1G)),
            "kvm_mmu_get_page: sp gen 0 gfn 123400 l1" + page,
            "link_external_spt: gfn 123400 level 2",
            changed(HUGE, 2, SpteFormat.NONPRESENT, mirrorEntry(PageLevel.LEVEL_2M)),
            "set_external_spte: gfn 123456 level 1",
            changed(GFN, 1, SpteFormat.NONPRESENT, leaf),
            "kvm_mmu_set_spte: gfn 123456 spte %x (rwxu) level 1 at %x"
                .formatted(leaf, mirrorSptePa()),
            "tdp_map_ret: ret_pf=5");
  }

  @Test
  void conversionToShared_namesTheRangeThenTheChangeThenTheRemoval() {
    use(TestVm.td());
    vm.addPrivate(HUGE, 0x200, PageLevel.LEVEL_4K);
    vm.map(GFN, TestVm.PRIVATE_WRITE);
    long leaf = vm.peek(vm.mirrorRoot(), GFN);
    vm.events.clear();

    assertThat(vm.mmu.memory().setAttributes(GfnRange.ofPages(GFN, 1), false)).isEqualTo(Errno.OK);

    assertThat(vm.takeEvents())
        .containsExactly(
            "kvm_vm_set_mem_attributes: 0x00000000123456 -- 0x00000000123457 [0x0]",
            changed(GFN, 1, leaf, SpteFormat.NONPRESENT),
            "remove_external_spte: gfn 123456 level 1",
            "flush_remote_tlbs: ");
  }

  @Test
  void conversionToPrivate_printsTheAttribute() {
    use(TestVm.swProtected());

    assertThat(vm.mmu.memory().setAttributes(new GfnRange(0x200, 0x400), true)).isEqualTo(Errno.OK);

    assertThat(vm.takeEvents())
        .containsExactly("kvm_vm_set_mem_attributes: 0x00000000000200 -- 0x00000000000400 [0x8]");
  }

  @Test
  void conversionThatIsRefused_isNotTraced() {
    assertThat(vm.mmu.memory().setAttributes(new GfnRange(0x200, 0x400), true))
        .isEqualTo(Errno.EINVAL);

    assertThat(vm.takeEvents()).isEmpty();
  }

  @Test
  void mmio_isMarkedWithItsGenerationAndNoPfn() {
    use(TestVm.npt());
    vm.addShared(0x1000, 1);
    vm.events.clear();

    assertThat(vm.fault(0x40000, TestVm.WRITE)).isEqualTo(FaultOutcome.of(RetPf.EMULATE));

    List<String> events = vm.takeEvents();
    assertThat(events.get(0))
        .isEqualTo("kvm_mmu_spte_requested: gfn 40000 pfn 8000000000000000 level 1");
    assertThat(events.get(events.size() - 3))
        .isEqualTo(changed(0x40000, 1, SpteFormat.NONPRESENT, 0x8000040000017L));
    long pa = vm.at(vm.directRoot(), 0x40000, PageLevel.LEVEL_4K, LockMode.SHARED, TdpIter::sptePa);
    assertThat(events.subList(events.size() - 2, events.size()))
        .containsExactly(
            "mark_mmio_spte: sptep:%016x gfn 40000 access 7 gen 2".formatted(pa),
            "tdp_map_ret: ret_pf=2");
  }

  @Test
  void fastPageFault_printsTheNewValueWithoutAPrefix() {
    vm.addShared(GFN, 1);
    vm.map(GFN, TestVm.WRITE);
    long leaf = vm.peek(vm.directRoot(), GFN);
    vm.corrupt(vm.directRoot(), GFN, PageLevel.LEVEL_4K, SpteFormat.ept().writeProtect(leaf));
    vm.events.clear();

    assertThat(vm.fault(GFN, TestVm.WRITE | PageFault.PRESENT))
        .isEqualTo(FaultOutcome.of(RetPf.FIXED));
    assertThat(vm.fault(GFN, TestVm.WRITE | PageFault.PRESENT))
        .isEqualTo(FaultOutcome.of(RetPf.SPURIOUS));

    String event =
        "fast_page_fault: vcpu 0 gva 123456000 error_code P|W|U sptep %016x old 0x%s new %s"
            + " spurious %d fixed %d";
    long pa = vm.at(vm.directRoot(), GFN, PageLevel.LEVEL_4K, LockMode.SHARED, TdpIter::sptePa);
    assertThat(vm.takeEvents())
        .containsExactly(
            event.formatted(pa, "8600000123456b75", "8600000123456b77", 0, 1),
            event.formatted(pa, "8600000123456b77", "8600000123456b77", 1, 0));
  }

  @Test
  void fastPageFault_thatFixesNothing_printsTheUnchangedEntryTwice() {
    vm.addShared(GFN, 1);
    vm.memory.setWritable(false);
    vm.map(GFN, TestVm.READ);
    vm.events.clear();

    assertThat(vm.fault(GFN, TestVm.WRITE | PageFault.PRESENT).error()).isEqualTo(Errno.EFAULT);

    assertThat(vm.takeEvents())
        .singleElement()
        .asString()
        .endsWith("old 0x8000000123456975 new 8000000123456975 spurious 0 fixed 0");
  }

  @Test
  void zapAllFast_printsTheGenerationThatEnds() {
    Memslot first = vm.addShared(0x200, 1);
    Memslot second = vm.addShared(0x400, 1);
    vm.events.clear();

    assertThat(vm.mmu.memory().setRegion(MemoryRegion.delete(first.id()))).isEqualTo(Errno.OK);
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
    assertThat(vm.mmu.memory().setRegion(MemoryRegion.delete(second.id()))).isEqualTo(Errno.OK);

    assertThat(vm.takeEvents())
        .containsExactly(
            "kvm_mmu_zap_all_fast: kvm-mmu-valid-gen 0 used_pages 0",
            "kvm_mmu_get_page: sp gen 0 gfn 0 l4 8-byte q0 direct wux nxe ad root 0 sync new",
            "kvm_mmu_zap_all_fast: kvm-mmu-valid-gen 1 used_pages 0");
  }

  @Test
  void pageFault_isPrintedAsTheExitSawIt() {
    vm.mmu.traceFault(vm.vcpu.vcpu(), 0, 0x123456000L, 0x2);

    assertThat(vm.takeEvents())
        .containsExactly(
            "kvm_page_fault: vcpu 0 rip 0x0 address 0x0000000123456000 error_code 0x2");
  }

  @Test
  void setSpte_lettersFollowThePermissions() {
    use(TestVm.nx());
    map2MQuietly();
    assertThat(lastSetSpte()).contains(" spte 8600000123400bf3 (rw-u) level 2 at ");

    vm.memory.setWritable(false);
    vm.memory.setLevel(PageLevel.LEVEL_4K);
    vm.map(HUGE + 0x200, TestVm.READ);
    assertThat(lastSetSpte()).contains(" spte 8000000123600975 (r-xu) level 1 at ");
  }

  @Test
  void rootText_countsItsUsers_andShowsWhenItIsToBeZapped() {
    MmuPage root = vm.directRoot();
    assertThat(root).hasToString("sp gen 0 gfn 0 l4 8-byte q0 direct wux nxe ad root 2 sync");

    vm.mmu.roots().invalidate(EnumSet.of(RootKind.DIRECT));

    assertThat(root)
        .hasToString("sp gen 1 gfn 0 l4 8-byte q0 direct wux invalid nxe ad root 2 sync");
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void sink_thatIsOff_getsNothing(boolean on) {
    List<String> names = new ArrayList<>();
    TraceSink sink =
        new TraceSink() {
          @Override
          public boolean isOn() {
            return on;
          }

          @Override
          public void event(String name, String fields) {
            names.add(name);
          }
        };
    MmuTrace trace = new MmuTrace(sink, SpteFormat.ept());
    MmuPage page = new MmuPage(1, Kernel.host().entryTable(SpteFormat.NONPRESENT, 0));
    page.init(MmuRole.root(PageLevel.LEVEL_512G, true, 0), 0, null, 0);

    trace.spteChanged(0, 1, PageLevel.LEVEL_4K, 2, 3);
    trace.splitHugePage(1, 2, PageLevel.LEVEL_2M, Errno.OK);
    trace.getPage(page);
    trace.prepareZapPage(page);
    trace.pageFault(0, 0, 1, 2);
    trace.setMemAttributes(new GfnRange(0, 1), 8);
    trace.zapAllFast(0);
    trace.checkMmioSpte(1, 2, 3);
    trace.handleMmioPageFault(1, 6);
    trace.matchMmio(0x1000, true);
    trace.mapReturned(RetPf.FIXED);
    trace.unmapHvaRange(0, 0x1000);
    trace.ageHva(0, 0x1000);
    trace.testAgeHva(0);
    DirtyRing ring = new DirtyRing(Kernel.host(), 0, 256);
    trace.dirtyRingPush(ring, 1, 2);
    trace.dirtyRingReset(ring);

    assertThat(names)
        .isEqualTo(
            on
                ? List.of(
                    "kvm_tdp_mmu_spte_changed",
                    "kvm_mmu_split_huge_page",
                    "kvm_mmu_get_page",
                    "kvm_mmu_prepare_zap_page",
                    "kvm_page_fault",
                    "kvm_vm_set_mem_attributes",
                    "kvm_mmu_zap_all_fast",
                    "check_mmio_spte",
                    "handle_mmio_page_fault",
                    "vcpu_match_mmio",
                    "tdp_map_ret",
                    "kvm_unmap_hva_range",
                    "kvm_age_hva",
                    "kvm_test_age_hva",
                    "kvm_dirty_ring_push",
                    "kvm_dirty_ring_reset")
                : List.of());
  }

  private void map2M() {
    vm.addShared(HUGE, 0x200);
    vm.memory.setLevel(PageLevel.LEVEL_2M);
    vm.map(GFN, TestVm.WRITE);
    vm.events.clear();
  }

  private void map2MQuietly() {
    vm.addShared(HUGE, 0x400);
    vm.memory.setLevel(PageLevel.LEVEL_2M);
    vm.map(GFN, TestVm.WRITE);
  }

  private String lastSetSpte() {
    return requireNonNull(
        vm.events.stream().filter(e -> e.startsWith("kvm_mmu_set_spte")).reduce("", (a, b) -> b));
  }

  private Errno split() {
    vm.mmuLock().lock(LockMode.SHARED);
    try {
      return HugePageSplitter.split(
          vm.mmu,
          vm.directRoot(),
          GfnRange.ofPages(GFN, 1),
          PageLevel.LEVEL_4K,
          LockMode.SHARED,
          SplitCause.DIRTY_LOG);
    } finally {
      vm.mmuLock().unlock(LockMode.SHARED);
    }
  }

  private Errno splitPrivate() {
    return vm.mmu.withMmuLock(
        () ->
            vm.mmu.splitCrossBoundaryLeafs(
                GfnRange.ofPages(GFN, 1), LockMode.EXCLUSIVE, SplitCause.PUNCH_HOLE));
  }

  private static String changed(long gfn, int level, long oldSpte, long newSpte) {
    return "kvm_tdp_mmu_spte_changed: as id 0 gfn %x level %d old_spte %x new_spte %x"
        .formatted(gfn, level, oldSpte, newSpte);
  }

  /** The entry that points to the table of that level above {@link #GFN}. */
  private long nonleaf(PageLevel tableLevel) {
    return vm.spte(vm.directRoot(), GFN, tableLevel.above());
  }

  private long mirrorEntry(PageLevel level) {
    return vm.spte(vm.mirrorRoot(), GFN, level);
  }

  private long sptePa(PageLevel level, int index) {
    MmuPage table = vm.at(vm.directRoot(), GFN, level, LockMode.SHARED, TdpIter::table);
    return (table.sptPfn << 12) + index * 8L;
  }

  private long mirrorSptePa() {
    return vm.at(vm.mirrorRoot(), GFN, PageLevel.LEVEL_4K, LockMode.SHARED, TdpIter::sptePa);
  }
}
