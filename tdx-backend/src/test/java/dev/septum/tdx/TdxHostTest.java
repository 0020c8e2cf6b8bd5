package dev.septum.tdx;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.module.TdxStatus;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What all TDs of a host share. */
final class TdxHostTest extends TdTestCase {

  private TdxHost with(TdxModuleConfig config) {
    return new TdxHost(host, config);
  }

  @Test
  void features_areTheModules() {
    TdxModuleConfig plain = TdxModuleConfig.defaults();
    assertThat(tdx.supportsHugePages()).isTrue();
    assertThat(tdx.supportsNonBlockingResize()).isFalse();
    assertThat(tdx.dpamt().isEnabled()).isTrue();
    assertThat(with(plain.withEnhancedDemoteInterruptibility(false)).supportsHugePages()).isFalse();
    assertThat(with(plain.withNonBlockingResize(true)).supportsNonBlockingResize()).isTrue();
    assertThat(with(plain.withDynamicPamt(false)).dpamt().isEnabled()).isFalse();
  }

  @Test
  void hkids_are1To63_eachGivenOnce() {
    Set<Integer> given = new HashSet<>();
    for (int i = 0; i < 63; i++) {
      given.add(tdx.allocHkid());
    }
    assertThat(given).hasSize(63).allMatch(hkid -> hkid >= 1 && hkid <= 63);
    assertThat(tdx.allocHkid()).isEqualTo(-1);
    tdx.freeHkid(17);
    assertThat(tdx.allocHkid()).isEqualTo(17);
    assertThat(tdx.allocHkid()).isEqualTo(-1);
  }

  @Test
  void hkidBits_areAboveTheAddress() {
    assertThat(tdx.hkidBits(1)).isEqualTo(1L << 45);
    assertThat(tdx.hkidBits(5)).isEqualTo(5L << 45);
  }

  @Test
  void vmIds_countUp() {
    int first = tdx.nextVmId();
    assertThat(tdx.nextVmId()).isEqualTo(first + 1);
  }

  @Test
  void aControlPage_hasItsPamtUntilItIsFreed() {
    long page = tdx.controlPages().alloc();
    assertThat(host.pages().ownerOf(page)).isEqualTo(PageOwner.TD_CONTROL);
    assertThat(tdx.dpamt().refcount(page)).isEqualTo(1);
    tdx.controlPages().free(page);
    assertThat(owned()).isEmpty();
    assertThat(calls(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE)).isEqualTo(1);
  }

  @ParameterizedTest
  @CsvSource({"td_control, 1", "pamt_cache, 1", "pamt_cache, 2"})
  void aControlPageWithoutMemory_isNoneAndTakesNothing(String place, int nth) {
    host.pages().faults().failNext(place, nth);
    assertThat(tdx.controlPages().alloc()).isEqualTo(PageAllocator.NO_PAGE);
    assertThat(owned()).isEmpty();
  }

  @Test
  void aControlPageWhosePamtIsRefused_isNoneAndTakesNothing() {
    injector().failNext(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, 1, TdxStatus.TDX_OPERAND_INVALID);
    assertThat(tdx.controlPages().alloc()).isEqualTo(PageAllocator.NO_PAGE);
    assertThat(owned()).isEmpty();
    assertThat(tdx.dpamt().get(0)).isEqualTo(Errno.OK);
    tdx.dpamt().put(0);
  }
}
