package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VcpuStat;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** {@code KVM_PRE_FAULT_MEMORY}. */
class PreFaultTest {

  private static final long GFN = 0x40000;
  private static final long GPA = GFN << 12;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;
  private static final PreFault DONE = new PreFault(Errno.OK, 0);

  private TestVm vm = TestVm.ordinary();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  private void use(TestVm other) {
    vm.assertSoundAndDestroy();
    vm = other;
  }

  private PreFault preFault(long gpa, long size) {
    return vm.vcpu.preFault(gpa, size);
  }

  private static PreFault none(Errno error, long size) {
    return new PreFault(error, size);
  }

  @Test
  void range_isMappedPageByPage_notYetAccessed() {
    vm.addShared(GFN, 4);

    assertThat(preFault(GPA + 0x1000, 0x2000)).isEqualTo(DONE);

    assertThat(vm.view.directLeafs())
        .containsExactly(
            new MappedLeaf(GFN + 1, SMALL, GFN + 1, 0x8600000040001a77L),
            new MappedLeaf(GFN + 2, SMALL, GFN + 2, 0x8600000040002a77L));
    assertThat(vm.vcpu.vcpu().stats().get(VcpuStat.PF_TAKEN)).isZero();
    assertThat(vm.vcpu.vcpu().stats().get(VcpuStat.PF_FIXED)).isZero();
    assertThat(Events.only(vm.takeEvents(), "kvm_page_fault", "fast_page_fault")).isEmpty();
  }

  @Test
  void npt_isWhatTheKernelRecorded() {
    use(TestVm.npt());
    vm.addShared(GFN, 1);

    assertThat(preFault(GPA, 4096)).isEqualTo(DONE);

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x40000e47L);
  }

  @Test
  void withoutAdBits_itIsAccessTracked_andTheFirstWriteTakesTheFastPath() {
    use(TestVm.of(KernelGeneration.LINUX_7_1, SpteFormat.eptWithoutAccessDirty()));
    vm.addShared(GFN, 1);

    assertThat(preFault(GPA, 4096)).isEqualTo(DONE);

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8750000040000a70L);
    vm.map(GFN, TestVm.WRITE);
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8610000040000b77L);
    assertThat(vm.vcpu.vcpu().stats().get(VcpuStat.PF_FAST)).isEqualTo(1);
  }

  @Test
  void hugePages_advanceToTheirEnd() {
    vm.addShared(GFN, 0x400);
    vm.memory.setLevel(HUGE);

    assertThat(preFault(GPA + 0x1ff000, 0x2000)).isEqualTo(DONE);

    assertThat(vm.view.directLeafs()).extracting(MappedLeaf::gfn).containsExactly(GFN, GFN + 0x200);
  }

  @Test
  void whatIsMappedAlready_isDone_andOn7_1Untouched() {
    vm.addShared(GFN, 1);
    vm.map(GFN, TestVm.WRITE);
    TestVm.State before = vm.state();

    assertThat(preFault(GPA, 4096)).isEqualTo(DONE);

    assertThat(vm.state()).isEqualTo(before);
  }

  @Test
  void whatIsMappedAlready_on6_12IsWrittenAnew_andLosesAAndD() {
    use(TestVm.of(KernelGeneration.LINUX_6_12, SpteFormat.ept()));
    vm.addShared(GFN, 1);
    vm.map(GFN, TestVm.WRITE);

    assertThat(preFault(GPA, 4096)).isEqualTo(DONE);

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8600000040000877L);
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void pageOfALoggingSlot_isDirty(KernelGeneration generation) {
    use(TestVm.of(generation, SpteFormat.ept()));
    vm.add(MemoryRegion.shared(0, GFN, 8, GPA).withFlags(MemoryRegion.LOG_DIRTY_PAGES));

    assertThat(preFault(GPA + 0x3000, 0x1000)).isEqualTo(DONE);

    assertThat(vm.dirty()).containsExactly(3L);
  }

  @ParameterizedTest
  @CsvSource({
    "1, 4096",
    "4095, 4096",
    "4096, 1",
    "4096, 4097",
    "4096, 0",
    "4096, -4096",
    "0x7ffffffffffff000, 4096"
  })
  void rangeThatIsNone_isEinval(String gpa, long size) {
    assertThat(preFault(Long.decode(gpa), size)).isEqualTo(none(Errno.EINVAL, size));
  }

  @Test
  void memoryEndsInTheMiddle_isOkWithTheRestLeft_thenEnoent() {
    vm.addShared(GFN, 2);

    assertThat(preFault(GPA, 0x5000)).isEqualTo(new PreFault(Errno.OK, 0x3000));
    assertThat(preFault(GPA + 0x2000, 0x3000)).isEqualTo(none(Errno.ENOENT, 0x3000));

    assertThat(vm.leafCounts()).containsExactly(2L, 0L, 0L);
  }

  @Test
  void slotOnItsWayOut_isEagain() {
    vm.addShared(GFN, 1).invalidate();

    assertThat(preFault(GPA, 4096)).isEqualTo(none(Errno.EAGAIN, 4096));
  }

  @Test
  void noHostPage_isEfault() {
    vm.addShared(TestMemory.FRAMES - 1, 2);

    assertThat(preFault((TestMemory.FRAMES - 1) << 12, 0x2000))
        .isEqualTo(new PreFault(Errno.OK, 0x1000));
    assertThat(preFault(TestMemory.FRAMES << 12, 0x1000)).isEqualTo(none(Errno.EFAULT, 0x1000));
  }

  @Test
  void noTablePages_isEnomem() {
    vm.addShared(GFN, 0x400);
    assertThat(preFault(GPA, 4096)).isEqualTo(DONE);
    while (vm.vcpu.cachedTablePages() > 0) {
      vm.mmu.freeUnlinked(vm.vcpu.allocPage());
    }
    vm.pages().faults().failAlways(PageOwner.MMU_PAGE_TABLE.tag());

    assertThat(preFault(GPA + 0x200000, 4096)).isEqualTo(none(Errno.ENOMEM, 4096));

    vm.pages().faults().clear();
    assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
  }

  @Test
  void buggedVm_isEioWhateverElseIsWrong() {
    assertThat(vm.bugOn(true, "for this test")).isTrue();
    vm.assertBugged("for this test");

    assertThat(preFault(1, 0)).isEqualTo(none(Errno.EIO, 0));
  }

  @Test
  void rootOnItsWayOut_isReplacedFirst() {
    vm.addShared(GFN, 1);
    MmuPage old = vm.directRoot();
    vm.setParameter("nx_huge_pages", "force");

    assertThat(preFault(GPA, 4096)).isEqualTo(DONE);

    assertThat(vm.directRoot()).isNotSameAs(old);
    assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
  }

  @Test
  void invalidationMeanwhile_isTriedAgain() {
    vm.addShared(GFN, 1);
    List<String> lookups = new ArrayList<>();
    vm.memory.setOnFaultIn(
        () -> {
          lookups.add("lookup");
          if (lookups.size() == 1) {
            vm.mmu.notifier().invalidateRange(GPA, GPA + 0x1000);
          }
        });

    assertThat(preFault(GPA, 4096)).isEqualTo(DONE);

    assertThat(lookups).hasSize(2);
    assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
  }

  /** The first attempt aims at 2M; when it is tried again, the host maps small pages. */
  @Test
  void backingChangedBeforeTheRetry_isMappedAsItIsNow() {
    vm.addShared(GFN, 0x400);
    vm.memory.setLevel(HUGE);
    vm.map(GFN + 0x200, TestVm.READ);
    vm.poke(GFN, HUGE, SpteFormat.FROZEN);
    List<String> lookups = new ArrayList<>();
    vm.memory.setOnFaultIn(
        () -> {
          lookups.add("lookup");
          if (lookups.size() == 2) {
            vm.poke(GFN, HUGE, SpteFormat.NONPRESENT);
            vm.memory.setLevel(SMALL);
          }
        });

    assertThat(preFault(GPA + 0x7000, 0x1000)).isEqualTo(DONE);

    assertThat(vm.leafCounts()).containsExactly(1L, 1L, 0L);
    assertThat(vm.peek(vm.directRoot(), GFN + 7)).isEqualTo(0x8600000040007a77L);
  }

  /** Race R14: the deletion waits for the prefault, and then unmaps what it mapped. */
  @Test
  void slotDeletedDuringTheLookup_waitsForThePrefault() {
    Memslot slot = vm.addShared(GFN, 1);
    List<KernelThread> deleters = new ArrayList<>();
    vm.memory.setOnFaultIn(
        () -> {
          deleters.add(vm.kernel().spawn("deleter", this::deleteSlot));
          while (!slot.isInvalid()) {
            vm.kernel().condResched();
          }
        });

    assertThat(preFault(GPA, 4096)).isEqualTo(DONE);
    deleters.forEach(KernelThread::join);

    assertThat(deleters).hasSize(1);
    assertThat(vm.view.directLeafs()).isEmpty();
    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
  }

  private void deleteSlot() {
    assertThat(vm.mmu.memory().setRegion(MemoryRegion.delete(0))).isEqualTo(Errno.OK);
  }

  @Test
  void td_beforeItIsFinalised_isEopnotsupp() {
    use(TestVm.td());
    vm.addPrivate(GFN, 1, SMALL);

    assertThat(preFault(GPA, 4096)).isEqualTo(none(Errno.EOPNOTSUPP, 4096));
    vm.mmu.allowPreFault();
    assertThat(preFault(GPA, 4096)).isEqualTo(DONE);

    assertThat(vm.view.mirrorLeafs()).extracting(MappedLeaf::gfn).containsExactly(GFN);
  }

  @Test
  void td_sharedMemoryGoesToTheDirectRoot() {
    use(TestVm.td());
    vm.mmu.allowPreFault();
    vm.addShared(GFN, 1);

    assertThat(preFault(GPA, 4096)).isEqualTo(DONE);

    assertThat(vm.view.mirrorLeafs()).isEmpty();
    assertThat(vm.peek(vm.directRoot(), GFN | TestVm.SHARED_BIT)).isEqualTo(0x8600000040000a37L);
  }

  @Test
  void td_addressWithTheSharedBit_isEinval() {
    use(TestVm.td());
    vm.mmu.allowPreFault();
    vm.addShared(GFN, 1);
    long gpa = (GFN | TestVm.SHARED_BIT) << 12;

    assertThat(preFault(gpa, 4096)).isEqualTo(none(Errno.EINVAL, 4096));

    assertThat(vm.view.directLeafs()).isEmpty();
  }

  @Test
  void td_privateGfnWithoutAFile_isEfault() {
    use(TestVm.td());
    vm.mmu.allowPreFault();
    vm.addShared(GFN, 2);
    assertThat(vm.mmu.memory().setAttributes(GfnRange.ofPages(GFN + 1, 1), true))
        .isEqualTo(Errno.OK);

    assertThat(preFault(GPA, 0x2000)).isEqualTo(new PreFault(Errno.OK, 0x1000));
    assertThat(preFault(GPA + 0x1000, 0x1000)).isEqualTo(none(Errno.EFAULT, 0x1000));
  }
}
