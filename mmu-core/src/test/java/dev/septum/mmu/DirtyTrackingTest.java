package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.primitives.ImmutableLongArray;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The ioctls of the dirty bitmap, and the capabilities of dirty tracking. */
class DirtyTrackingTest {

  private static final long GFN = 0x40000;
  private static final int LOG = MemoryRegion.LOG_DIRTY_PAGES;
  private static final long WRITE_PRESENT = TestVm.WRITE | PageFault.PRESENT;
  private static final FaultOutcome FIXED = FaultOutcome.of(RetPf.FIXED);
  private static final long LEAF = 0x8600000040000b77L;
  private static final long PROTECTED = 0x8600000040000b75L;

  private final TestVm vm = TestVm.ordinary();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  private Errno clear(long firstPage, long pages, long... words) {
    return vm.mmu
        .dirtyTracking()
        .clearDirtyLog(0, firstPage, pages, ImmutableLongArray.copyOf(words));
  }

  private DirtyTracking.DirtyLog get(int slot) {
    return vm.mmu.dirtyTracking().getDirtyLog(slot);
  }

  private void logFrom(long gfn, long pages) {
    vm.add(MemoryRegion.shared(0, gfn, pages, gfn << 12).withFlags(LOG));
  }

  private void manualProtect(int caps) {
    assertThat(vm.mmu.dirtyTracking().enableManualProtect(caps)).isEqualTo(Errno.OK);
  }

  private static DirtyTracking.DirtyLog log(long... words) {
    return new DirtyTracking.DirtyLog(Errno.OK, ImmutableLongArray.copyOf(words));
  }

  private static DirtyTracking.DirtyLog failed(Errno error) {
    return new DirtyTracking.DirtyLog(error, ImmutableLongArray.of());
  }

  private void bugTheVm() {
    assertThat(vm.bugOn(true, "for this test")).isTrue();
    vm.assertBugged("for this test");
  }

  @Nested
  class Get {

    @Test
    void withoutManualProtection_clearsProtectsAgainAndFlushesOnce() {
      logFrom(GFN, 130);
      for (long page : new long[] {0, 63, 129}) {
        vm.map(GFN + page, TestVm.WRITE);
      }
      vm.events.clear();

      assertThat(get(0)).isEqualTo(log(Long.MIN_VALUE | 1, 0, 2));

      assertThat(vm.takeEvents())
          .containsExactly(
              Events.changed(GFN, 1, LEAF, PROTECTED),
              Events.changed(GFN + 63, 1, LEAF + (63L << 12), PROTECTED + (63L << 12)),
              Events.changed(GFN + 129, 1, LEAF + (129L << 12), PROTECTED + (129L << 12)),
              Events.FLUSH);
      assertThat(vm.dirty()).isEmpty();
      assertThat(get(0)).isEqualTo(log(0, 0, 0));
      assertThat(vm.flushes()).isEqualTo(1);
    }

    @Test
    void aWriteAfterIt_isFixedFastAndDirtyAgain() {
      logFrom(GFN, 64);
      vm.map(GFN + 5, TestVm.WRITE);
      assertThat(get(0)).isEqualTo(log(0x20));

      assertThat(vm.fault(GFN + 5, WRITE_PRESENT)).isEqualTo(FIXED);

      assertThat(get(0)).isEqualTo(log(0x20));
    }

    /** A bit without a writable leaf costs no event, but the flush all the same. */
    @Test
    void dirtyPageThatIsNotMappedAnyMore_isReportedAndFlushedFor() {
      logFrom(GFN, 64);
      vm.map(GFN + 5, TestVm.WRITE);
      vm.mmu.notifier().invalidateRange((GFN + 5) << 12, (GFN + 6) << 12);
      vm.events.clear();

      assertThat(get(0)).isEqualTo(log(0x20));

      assertThat(vm.takeEvents()).containsExactly(Events.FLUSH);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3})
    void withManualProtection_readsAndChangesNothing(int caps) {
      manualProtect(caps);
      logFrom(GFN, 70);
      vm.map(GFN + 65, TestVm.WRITE);
      TestVm.State before = vm.state();
      vm.events.clear();

      for (int i = 0; i < 2; i++) {
        assertThat(get(0)).isEqualTo(caps == 1 ? log(0, 2) : log(-1, 0x3f));
      }

      assertThat(vm.takeEvents()).isEmpty();
      assertThat(vm.state()).isEqualTo(before);
    }

    @Test
    void itHoldsMmuLockForWrite_whileItProtects() {
      logFrom(GFN, 1);
      vm.map(GFN, TestVm.WRITE);
      List<Boolean> held = new ArrayList<>();
      vm.hooks.onEvent(
          "kvm_tdp_mmu_spte_changed", () -> held.add(vm.mmuLock().isHeld(LockMode.EXCLUSIVE)));

      get(0);

      assertThat(held).containsExactly(true);
    }

    @Test
    void bitThatAWriterSetsMeanwhile_isNotLost() {
      logFrom(GFN, 64);
      vm.map(GFN, TestVm.WRITE);
      vm.map(GFN + 1, TestVm.WRITE);
      vm.hooks.onExchange(
          () -> {
            // The fast path takes no lock: it may come before the page is protected again.
            vm.poke(GFN + 1, PageLevel.LEVEL_4K, PROTECTED + 0x1000);
            assertThat(vm.fault(GFN + 1, WRITE_PRESENT)).isEqualTo(FIXED);
          });

      assertThat(get(0)).isEqualTo(log(3));

      assertThat(vm.dirty()).containsExactly(1L);
    }

    @Test
    void errors_comeInTheKernelsOrder() {
      vm.add(MemoryRegion.shared(0, GFN, 1, GFN << 12));

      assertThat(get(-1)).isEqualTo(failed(Errno.EINVAL));
      assertThat(get(32764)).isEqualTo(failed(Errno.EINVAL));
      assertThat(get(0x20000)).isEqualTo(failed(Errno.EINVAL));
      assertThat(get(0)).isEqualTo(failed(Errno.ENOENT));
      assertThat(get(1)).isEqualTo(failed(Errno.ENOENT));
      bugTheVm();
      assertThat(get(-1)).isEqualTo(failed(Errno.EIO));
    }
  }

  @Nested
  class Clear {

    @BeforeEach
    void protectManually() {
      manualProtect(1);
    }

    @Test
    void someBits_protectsThosePagesOnly() {
      logFrom(GFN, 128);
      for (long page : new long[] {0, 1, 64, 65}) {
        vm.map(GFN + page, TestVm.WRITE);
      }
      vm.events.clear();

      assertThat(clear(64, 64, 0b110)).isEqualTo(Errno.OK);

      assertThat(vm.takeEvents())
          .containsExactly(
              Events.changed(GFN + 65, 1, LEAF + (65L << 12), PROTECTED + (65L << 12)),
              Events.FLUSH);
      assertThat(vm.dirty()).containsExactly(0L, 1L, 64L);
    }

    @Test
    void nothingThatWasDirty_takesNoFlush() {
      logFrom(GFN, 128);
      vm.map(GFN, TestVm.WRITE);
      TestVm.State before = vm.state();
      vm.events.clear();

      assertThat(clear(0, 128, 2, -1)).isEqualTo(Errno.OK);
      assertThat(clear(0, 0)).isEqualTo(Errno.OK);

      assertThat(vm.takeEvents()).isEmpty();
      assertThat(vm.state()).isEqualTo(before);
      assertThat(vm.dirty()).containsExactly(0L);
    }

    @Test
    void partialLastWord_ignoresBitsBeyondTheSlot() {
      logFrom(GFN, 70);
      vm.map(GFN + 69, TestVm.WRITE);
      vm.add(MemoryRegion.shared(1, GFN + 70, 1, (GFN + 70) << 12));
      vm.map(GFN + 70, TestVm.WRITE);

      assertThat(clear(64, 6, -1)).isEqualTo(Errno.OK);

      assertThat(vm.dirty()).isEmpty();
      assertThat(vm.peek(vm.directRoot(), GFN + 69)).isEqualTo(PROTECTED + (69L << 12));
      assertThat(vm.peek(vm.directRoot(), GFN + 70)).isEqualTo(LEAF + (70L << 12));
    }

    @ParameterizedTest
    @CsvSource({
      "1, 64, 2", // not from a word's first page
      "63, 7, 1",
      "0, 63, 1", // neither whole words nor up to the end
      "64, 5, 1",
      "0, 131, 3", // beyond the end
      "192, 0, 0",
      "-64, 64, 1",
      "0, -64, 1",
      "0, 128, 1" // fewer words than pages
    })
    void rangeThatIsNone_isEinvalAndClearsNothing(long first, long pages, int words) {
      logFrom(GFN, 130);
      vm.map(GFN, TestVm.WRITE);

      assertThat(clear(first, pages, LongStream.range(0, words).map(i -> -1).toArray()))
          .isEqualTo(Errno.EINVAL);

      assertThat(vm.dirty()).containsExactly(0L);
    }

    /** A first page that is no word's is found before the missing bitmap, the range after it. */
    @Test
    void errors_comeInTheKernelsOrder() {
      vm.add(MemoryRegion.shared(0, GFN, 1, GFN << 12));
      DirtyTracking tracking = vm.mmu.dirtyTracking();
      ImmutableLongArray one = ImmutableLongArray.of(1);

      assertThat(tracking.clearDirtyLog(-1, 0, 1, one)).isEqualTo(Errno.EINVAL);
      assertThat(tracking.clearDirtyLog(5, 1, 1, one)).isEqualTo(Errno.EINVAL);
      assertThat(tracking.clearDirtyLog(5, 0, 99, one)).isEqualTo(Errno.ENOENT);
      assertThat(tracking.clearDirtyLog(0, 0, 99, one)).isEqualTo(Errno.ENOENT);
      bugTheVm();
      assertThat(tracking.clearDirtyLog(-1, 0, 1, one)).isEqualTo(Errno.EIO);
      assertThat(tracking.enableManualProtect(8)).isEqualTo(Errno.EIO);
      assertThat(tracking.enableRing(1)).isEqualTo(Errno.EIO);
      assertThat(tracking.resetRings()).isEqualTo(-5);
    }
  }

  @Nested
  class Capabilities {

    @ParameterizedTest
    @CsvSource({"0, OK", "1, OK", "2, EINVAL", "3, OK", "4, EINVAL", "5, EINVAL", "-1, EINVAL"})
    void manualProtect_initiallySetOnlyWithIt(int caps, Errno expected) {
      assertThat(vm.mmu.dirtyTracking().enableManualProtect(caps)).isEqualTo(expected);

      assertThat(vm.mmu.dirtyTracking().isInitiallySet()).isEqualTo(caps == 3);
    }

    @ParameterizedTest
    @CsvSource({
      "0, EINVAL",
      "2048, EINVAL",
      "4095, EINVAL",
      "6144, EINVAL",
      "-4096, EINVAL",
      "2097152, E2BIG",
      "4096, OK",
      "1048576, OK"
    })
    void ring_hasASizeThatIsPossible(long bytes, Errno expected) {
      vm.vcpu.destroy();

      assertThat(vm.mmu.dirtyTracking().enableRing(bytes)).isEqualTo(expected);
    }

    @Test
    void ring_onceAndBeforeTheFirstVcpu() {
      assertThat(vm.mmu.dirtyTracking().enableRing(4096)).isEqualTo(Errno.EINVAL);
      vm.vcpu.destroy();
      assertThat(vm.mmu.dirtyTracking().enableRing(4096)).isEqualTo(Errno.OK);
      assertThat(vm.mmu.dirtyTracking().enableRing(4096)).isEqualTo(Errno.EINVAL);
      assertThat(vm.mmu.dirtyTracking().enableRing(1 << 21)).isEqualTo(Errno.E2BIG);
    }

    @Test
    void withoutARing_thereIsNothingToReset() {
      assertThat(vm.vcpu.dirtyRing()).isNull();
      assertThat(vm.mmu.dirtyTracking().resetRings()).isEqualTo(-22);
    }
  }
}
