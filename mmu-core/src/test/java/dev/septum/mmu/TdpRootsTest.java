package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class TdpRootsTest {

  private static final long GFN = 0x40000;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;

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
  void firstLoad_makesARootWithTwoReferences() {
    assertThat(vm.mmu.roots().all()).hasSize(1);
    assertThat(vm.directRoot().rootCount()).isEqualTo(2);
    assertThat(vm.view.dump())
        .matches(
            """
            root hpa=\\S+ level=4
            total tables\\(incl root\\)=1 leaf4k=0 leaf2m=0 leaf1g=0
            """);
  }

  @Test
  void load_again_takesNoFurtherReference() {
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);

    assertThat(vm.directRoot().rootCount()).isEqualTo(2);
  }

  @Test
  void twoVcpus_shareTheRoot() {
    VcpuMmu other = vm.newVcpu();

    assertThat(vm.mmu.roots().all()).hasSize(1);
    assertThat(other.directRoot()).isSameAs(vm.vcpu.directRoot());
    assertThat(vm.directRoot().rootCount()).isEqualTo(3);
    other.destroy();
    assertThat(vm.directRoot().rootCount()).isEqualTo(2);
  }

  @Test
  void td_loadsTheMirrorRootFirst() {
    use(TestVm.td());

    assertThat(vm.mmu.roots().all())
        .extracting(root -> root.role().word())
        .containsExactly(0x83784, 0x3784);
    assertThat(vm.mirrorRoot().hasExternalSpt()).isFalse();
    assertThat(vm.view.dump())
        .matches(
            """
            root mirror hpa=\\S+ level=4
            root hpa=\\S+ level=4
            total tables\\(incl root\\)=2 leaf4k=0 leaf2m=0 leaf1g=0
            """);
  }

  @Test
  void matching_followsTheKindOfGfnInATdOnly() {
    assertThat(vm.mmu.roots().matching(EnumSet.of(GfnKind.PRIVATE), 0))
        .containsExactly(vm.directRoot());

    use(TestVm.td());
    assertThat(vm.mmu.roots().matching(EnumSet.of(GfnKind.PRIVATE), 0))
        .containsExactly(vm.mirrorRoot());
    assertThat(vm.mmu.roots().matching(EnumSet.of(GfnKind.SHARED), 0))
        .containsExactly(vm.directRoot());
    assertThat(vm.mmu.roots().matching(EnumSet.allOf(GfnKind.class), 0)).hasSize(2);
  }

  @ParameterizedTest
  @EnumSource(LockMode.class)
  void invalidatedRoot_isEmptiedAndKeptForWhoStillUsesIt(LockMode mode) {
    mapSome();
    MmuPage old = vm.directRoot();

    vm.mmu.roots().invalidate(EnumSet.of(RootKind.DIRECT));
    assertThat(old.rootCount()).isEqualTo(2);
    vm.mmu.roots().zapInvalidated(mode);

    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    assertThat(vm.mmu.roots().all()).containsExactly(old);
    assertThat(old.rootCount()).isEqualTo(1);
    assertThat(vm.mmu.roots().valid(EnumSet.allOf(GfnKind.class), 0)).isEmpty();
    assertThat(vm.mmu.roots().matching(EnumSet.of(GfnKind.SHARED), 0)).containsExactly(old);

    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
    assertThat(vm.mmu.roots().all()).doesNotContain(old).hasSize(1);
    assertThat(vm.pages().ownerOf(old.sptPfn)).isEqualTo(PageOwner.FREE);
    assertThat(vm.directRoot().rootCount()).isEqualTo(2);
  }

  @Test
  void invalidate_twice_schedulesOnce() {
    MmuPage old = vm.directRoot();

    vm.mmu.roots().invalidate(EnumSet.of(RootKind.DIRECT));
    vm.mmu.roots().zapInvalidated(LockMode.SHARED);
    vm.mmu.roots().invalidate(EnumSet.of(RootKind.DIRECT));
    vm.mmu.roots().zapInvalidated(LockMode.SHARED);

    assertThat(old.rootCount()).isEqualTo(1);
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
  }

  @Test
  void fastZap_leavesTheMirrorAlone() {
    use(TestVm.td());
    vm.addPrivate(GFN, 1, SMALL);
    vm.addShared(2 * GFN, 1);
    vm.map(GFN, TestVm.PRIVATE_WRITE);
    vm.map((2 * GFN) | TestVm.SHARED_BIT, TestVm.WRITE);
    MmuPage mirror = vm.mirrorRoot();

    zapAllFast();

    assertThat(vm.view.directLeafs()).isEmpty();
    assertThat(vm.view.mirrorLeafs()).extracting(MappedLeaf::gfn).containsExactly(GFN);
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
    assertThat(vm.mirrorRoot()).isSameAs(mirror);
    assertThat(mirror.rootCount()).isEqualTo(2);
  }

  @Test
  void fastZap_doesNotFlush() {
    mapSome();

    zapAllFast();

    assertThat(vm.stats().toMap()).containsEntry("remote_tlb_flush_requests", 0L);
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
  }

  @Test
  void zapOfAWholeTd_namesSharedGfnsWithTheirBit() {
    use(TestVm.td());
    vm.addShared(GFN, 1);
    vm.map(GFN | TestVm.SHARED_BIT, TestVm.WRITE);
    vm.events.clear();

    zapAllFast();

    assertThat(vm.takeEvents())
        .contains(
            "kvm_tdp_mmu_spte_changed: as id 0 gfn 800040000 level 1 old_spte 8600000040000b37"
                + " new_spte 8000000000000000");
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
  }

  @Test
  void zap_goesLevelByLevel() {
    mapSome();
    vm.events.clear();

    zapAllFast();

    List<String> levels =
        vm.takeEvents().stream()
            .filter(e -> e.endsWith("new_spte 8000000000000000"))
            .map(e -> e.replaceAll(".*(gfn \\w+ level \\d).*", "$1"))
            .toList();
    assertThat(levels)
        .containsExactly(
            "gfn 40000 level 1",
            "gfn 40000 level 2",
            "gfn 40200 level 2",
            "gfn 40000 level 3",
            "gfn 0 level 4");
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
  }

  @Test
  void zap_lockWaitedFor_goesOnWhereItWas_andFaultsMeanwhileRetry() {
    mapSome();
    List<FaultOutcome> outcomes = new ArrayList<>();
    vm.hooks.onEvent(
        "kvm_tdp_mmu_spte_changed",
        () -> vm.hooks.onYield(() -> outcomes.add(vm.fault(GFN + 1, TestVm.WRITE))));

    zapAllFast();

    assertThat(outcomes).containsExactly(FaultOutcome.of(RetPf.RETRY));
    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    assertThat(vm.mmu.counters().get(MmuCounter.LOCK_DROPS_RESCHED)).isEqualTo(1);
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
  }

  @Test
  void zapAll_wantsTheWriteLock_andLeavesTheRootUsable() {
    mapSome();
    MmuPage root = vm.directRoot();
    assertThatIllegalStateException()
        .isThrownBy(() -> vm.mmu.roots().zapAll())
        .withMessage("mmu_lock is not held for write");

    vm.mmuLock().lock(LockMode.EXCLUSIVE);
    vm.mmu.roots().zapAll();
    vm.mmuLock().unlock(LockMode.EXCLUSIVE);

    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    assertThat(vm.directRoot()).isSameAs(root);
    assertThat(root.rootCount()).isEqualTo(2);
    vm.map(GFN, TestVm.WRITE);
  }

  @Test
  void put_lastReferenceOfAValidRoot_bugsTheVm() {
    TestVm careless = TestVm.ordinary();
    MmuPage root = careless.directRoot();

    careless.mmu.roots().put(root);
    assertThat(careless.isBugged()).isFalse();
    careless.mmu.roots().put(root);

    careless.assertBugged("last reference of a valid root dropped");
    assertThat(careless.mmu.roots().all()).isEmpty();
    assertThat(careless.pages().ownerOf(root.sptPfn)).isEqualTo(PageOwner.FREE);
  }

  @Test
  void destroy_whileAVcpuIsLeft_bugsTheVm() {
    TestVm leaky = TestVm.ordinary();

    leaky.mmu.destroy();

    leaky.assertBugged("roots left after kvm_mmu_uninit_tdp_mmu");
    leaky.vcpu.destroy();
    leaky.memory.freeAll();
    leaky.assertNothingLeft();
  }

  @Test
  void setGfnDirectBits_afterTheFirstRoot_isRefused() {
    assertThatIllegalStateException()
        .isThrownBy(() -> vm.mmu.setGfnDirectBits(1))
        .withMessage("the VM has roots already");
  }

  @Test
  void fastZaps_underAFaultingVcpu_loseNothingAndLeakNothing() {
    vm.addShared(GFN, 0x200);
    VcpuMmu other = vm.newVcpu();
    List<KernelThread> threads = new ArrayList<>();
    for (VcpuMmu vcpu : List.of(vm.vcpu, other)) {
      threads.add(vm.kernel().spawn("vcpu " + vcpu.vcpu().id(), () -> touchAll(vcpu)));
    }
    for (int i = 0; i < 20; i++) {
      zapAllFast();
    }
    threads.forEach(KernelThread::join);
    touchAll(vm.vcpu);

    assertThat(vm.leafCounts()).containsExactly(0x200L, 0L, 0L);
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
    assertThat(other.load()).isEqualTo(Errno.OK);
    assertThat(vm.mmu.roots().all()).hasSize(1);
    assertThat(vm.directRoot().rootCount()).isEqualTo(3);
  }

  private void touchAll(VcpuMmu vcpu) {
    for (long gfn = GFN; gfn < GFN + 0x200; gfn++) {
      RetPf result;
      do {
        assertThat(vcpu.load()).isEqualTo(Errno.OK);
        result = vm.mmu.handleFault(vcpu, gfn << 12, TestVm.WRITE).result();
      } while (result == RetPf.RETRY);
      assertThat(result).isIn(RetPf.FIXED, RetPf.SPURIOUS);
    }
  }

  private void zapAllFast() {
    vm.slotsLock().lock();
    vm.mmu.zapAllFast();
    vm.slotsLock().unlock();
  }

  /** A 4K leaf at {@link #GFN} and a 2M leaf behind it. */
  private void mapSome() {
    vm.addShared(GFN, 0x400);
    vm.map(GFN, TestVm.WRITE);
    vm.memory.setLevel(PageLevel.LEVEL_2M);
    vm.map(GFN + 0x200, TestVm.WRITE);
  }
}
