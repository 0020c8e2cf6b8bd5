package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.primitives.ImmutableLongArray;
import dev.septum.kvm.Errno;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Dirty pages in rings: pushed, collected, and protected again. */
class DirtyRingResetTest {

  private static final long GFN = 0x40000;
  private static final int LOG = MemoryRegion.LOG_DIRTY_PAGES;
  private static final long WRITE_PRESENT = TestVm.WRITE | PageFault.PRESENT;
  private static final FaultOutcome FIXED = FaultOutcome.of(RetPf.FIXED);
  private static final long LEAF = 0x8600000040000b77L;
  private static final long PROTECTED = 0x8600000040000b75L;

  private final TestVm vm = TestVm.ordinary();
  private final VcpuMmu vcpu = withRing();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  private DirtyTracking tracking() {
    return vm.mmu.dirtyTracking();
  }

  private void logFrom(long gfn, long pages) {
    vm.add(MemoryRegion.shared(0, gfn, pages, gfn << 12).withFlags(LOG));
  }

  private VcpuMmu withRing() {
    vm.vcpu.destroy();
    assertThat(tracking().enableRing(4096)).isEqualTo(Errno.OK);
    VcpuMmu added = vm.newVcpu();
    vm.events.clear();
    return added;
  }

  private DirtyRing ring(VcpuMmu of) {
    DirtyRing ring = of.dirtyRing();
    assertThat(ring).isNotNull();
    return ring;
  }

  private void write(VcpuMmu by, long gfn, long error) {
    assertThat(vm.mmu.handleFault(by, gfn << 12, error)).isEqualTo(FIXED);
  }

  @Test
  void bitmapIoctls_areEnxioWhateverElseIsWrong() {
    logFrom(GFN, 1);

    assertThat(vm.slot(0).dirtyBitmap()).isNull();
    assertThat(tracking().getDirtyLog(-1))
        .isEqualTo(new DirtyTracking.DirtyLog(Errno.ENXIO, ImmutableLongArray.of()));
    assertThat(tracking().getDirtyLog(0))
        .isEqualTo(new DirtyTracking.DirtyLog(Errno.ENXIO, ImmutableLongArray.of()));
    assertThat(tracking().clearDirtyLog(0, 1, 1, ImmutableLongArray.of())).isEqualTo(Errno.ENXIO);
  }

  @Test
  void eachPage_isPushedWhenItBecomesWritable() {
    logFrom(GFN, 0x200);
    vm.events.clear();

    write(vcpu, GFN + 2, TestVm.WRITE);
    write(vcpu, GFN + 3, TestVm.READ);

    assertThat(Events.only(vm.takeEvents(), "kvm_dirty_ring"))
        .containsExactly(
            "kvm_dirty_ring_push: ring 1: dirty 0x1 reset 0x0 slot 0 offset 0x2 (used 1)",
            "kvm_dirty_ring_push: ring 1: dirty 0x2 reset 0x0 slot 0 offset 0x3 (used 2)");
    assertThat(ring(vcpu).collect())
        .containsExactly(new DirtyRing.Entry(0, 2), new DirtyRing.Entry(0, 3));
  }

  @Test
  void reset_protectsWhatWasCollectedAndFlushesOnce() {
    logFrom(GFN, 0x200);
    for (long page : new long[] {5, 4, 100, 6}) {
      write(vcpu, GFN + page, TestVm.WRITE);
    }
    assertThat(ring(vcpu).collect()).hasSize(4);
    write(vcpu, GFN + 7, TestVm.WRITE);
    vm.events.clear();

    assertThat(tracking().resetRings()).isEqualTo(4);

    // 5 and 4 are one run, whose pages are protected from the lowest up.
    List<String> expected = new ArrayList<>();
    for (long page : new long[] {4, 5, 100, 6}) {
      expected.add(Events.changed(GFN + page, 1, LEAF + (page << 12), PROTECTED + (page << 12)));
    }
    expected.add("kvm_dirty_ring_reset: ring 1: dirty 0x5 reset 0x4 (used 1)");
    expected.add(Events.FLUSH);
    assertThat(vm.takeEvents()).isEqualTo(expected);
    assertThat(vm.peek(vm.directRoot(), GFN + 7)).isEqualTo(LEAF + 0x7000);
  }

  @Test
  void reset_nothingCollected_tracesEachRingAndDoesNotFlush() {
    VcpuMmu second = vm.newVcpu();
    logFrom(GFN, 1);
    write(second, GFN, TestVm.WRITE);
    vm.events.clear();

    assertThat(tracking().resetRings()).isZero();

    assertThat(vm.takeEvents())
        .containsExactly(
            "kvm_dirty_ring_reset: ring 1: dirty 0x0 reset 0x0 (used 0)",
            "kvm_dirty_ring_reset: ring 2: dirty 0x1 reset 0x0 (used 1)");
  }

  @Test
  void reset_ofTwoRings_countsBothAndFlushesOnce() {
    VcpuMmu second = vm.newVcpu();
    logFrom(GFN, 2);
    write(vcpu, GFN, TestVm.WRITE);
    write(second, GFN + 1, TestVm.WRITE);
    assertThat(ring(vcpu).collect()).hasSize(1);
    assertThat(ring(second).collect()).hasSize(1);

    assertThat(tracking().resetRings()).isEqualTo(2);

    assertThat(vm.flushes()).isEqualTo(1);
    assertThat(vm.view.directLeafs()).noneMatch(l -> vm.mmu.format().isWritable(l.spte()));
  }

  @Test
  void reset_ofASlotThatIsGoneOrSmaller_takesTheEntriesBackAndNoMore() {
    logFrom(GFN, 0x200);
    write(vcpu, GFN + 9, TestVm.WRITE);
    assertThat(ring(vcpu).collect()).hasSize(1);
    assertThat(vm.mmu.memory().setRegion(MemoryRegion.delete(0))).isEqualTo(Errno.OK);
    logFrom(GFN, 9);
    assertThat(vcpu.load()).isEqualTo(Errno.OK);
    write(vcpu, GFN + 8, TestVm.WRITE);
    vm.add(MemoryRegion.shared(1, GFN + 9, 1, (GFN + 9) << 12));
    write(vcpu, GFN + 9, TestVm.WRITE);
    vm.events.clear();

    assertThat(tracking().resetRings()).isEqualTo(1);

    assertThat(vm.takeEvents())
        .containsExactly(
            "kvm_dirty_ring_reset: ring 1: dirty 0x2 reset 0x1 (used 1)", Events.FLUSH);
    assertThat(vm.peek(vm.directRoot(), GFN + 8)).isEqualTo(LEAF + 0x8000);
    assertThat(vm.peek(vm.directRoot(), GFN + 9)).isEqualTo(LEAF + 0x9000);
  }

  @Test
  void enabling_protectsAsWithABitmap_andAFastFaultPushes() {
    vm.addShared(GFN, 1);
    write(vcpu, GFN, TestVm.WRITE);
    vm.setFlags(LOG);
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(PROTECTED);
    vm.events.clear();

    write(vcpu, GFN, WRITE_PRESENT);

    assertThat(vm.takeEvents())
        .first()
        .isEqualTo("kvm_dirty_ring_push: ring 1: dirty 0x1 reset 0x0 slot 0 offset 0x0 (used 1)");
  }
}
