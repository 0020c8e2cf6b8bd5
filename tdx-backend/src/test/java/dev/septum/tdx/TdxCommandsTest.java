package dev.septum.tdx;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.AnonymousMemory;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.MemoryRegion;
import dev.septum.mmu.MmuView;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdParams;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.module.TdxStatus;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** The commands of a TD's life, in and out of order, and what each failure leaves behind. */
final class TdxCommandsTest extends TdTestCase {

  private final KvmTdx kvm =
      new KvmTdx(tdx, new AnonymousMemory(host.pages()), KvmTdx.MAP_GPA_MAX_LEN);
  private final TdxCommands commands = new TdxCommands(kvm);
  private @Nullable GuestMemfd file;
  private boolean destroyed;

  TdxCommandsTest() {
    super(TdxModuleConfig.defaults(), Placement.SCATTERED);
  }

  @AfterEach
  void destroy() {
    if (!destroyed) {
      destroyed = true;
      injector().clear();
      host.pages().faults().clear();
      if (file != null) {
        file.release();
      }
      commands.destroy();
    }
  }

  private void destroyMustGiveEverythingBack() {
    destroy();
    assertThat(owned()).isEmpty();
    assertThat(host.pages().objects()).isEmpty();
    assertThat(view().assignedPages()).isEmpty();
    assertThat(view().pamtPairs()).isEmpty();
    assertThat(tdx.dpamt().refcounts()).isEmpty();
  }

  private Errno init() {
    return commands.initVm(TdParams.defaults());
  }

  /** A TD with a vCPU and 16 MiB of private memory. */
  private VcpuTdx build() {
    assertThat(init()).isEqualTo(Errno.OK);
    VcpuTdx vcpu = commands.createVcpu();
    assertThat(commands.initVcpu(vcpu)).isEqualTo(Errno.OK);
    GuestMemfd memory = kvm.mmu().memory().createGuestMemfd(0x1000, PageLevel.LEVEL_2M);
    file = memory;
    MemoryRegion region = MemoryRegion.withGmem(0, 0, 0x1000, 1L << 40, memory, 0);
    assertThat(kvm.mmu().memory().setRegion(region)).isEqualTo(Errno.OK);
    assertThat(kvm.mmu().memory().setAttributes(new GfnRange(0, 0x800), true)).isEqualTo(Errno.OK);
    return vcpu;
  }

  @Test
  void aWholeLife_goesThroughTheStatesAndGivesEverythingBack() {
    assertThat(kvm.state()).isEqualTo(TdState.UNINITIALIZED);
    VcpuTdx vcpu = build();
    assertThat(kvm.state()).isEqualTo(TdState.INITIALIZED);
    assertThat(commands.initMemRegion(vcpu, new GfnRange(0x10, 0x20))).isEqualTo(Errno.OK);
    assertThat(commands.finalizeVm()).isEqualTo(Errno.OK);
    assertThat(kvm.state()).isEqualTo(TdState.RUNNABLE);
    destroyMustGiveEverythingBack();
  }

  @Test
  void initVm_takesSevenControlPagesAndAKey() {
    assertThat(init()).isEqualTo(Errno.OK);
    assertThat(pagesOf(PageOwner.TD_CONTROL)).isEqualTo(7);
    assertThat(kvm.hasHkid()).isTrue();
    assertThat(kvm.hkidBits()).isEqualTo(1L << 45);
    assertThat(kvm.mmu().gfnDirectBits()).isEqualTo(1L << 35);
    assertThat(calls(SeamcallLeaf.TDH_MNG_ADDCX)).isEqualTo(6);
  }

  @Test
  void initVm_with52BitGpas_movesTheSharedBitTo51() {
    assertThat(commands.initVm(TdParams.defaults().withGpaw(true))).isEqualTo(Errno.OK);
    assertThat(kvm.mmu().gfnDirectBits()).isEqualTo(1L << 39);
    assertThat(kvm.sharedBit()).isEqualTo(KvmTdx.SHARED_BIT_PWL_5);
  }

  @Test
  void initVcpu_takesSixControlPages() {
    assertThat(init()).isEqualTo(Errno.OK);
    assertThat(commands.initVcpu(commands.createVcpu())).isEqualTo(Errno.OK);
    assertThat(pagesOf(PageOwner.TD_CONTROL)).isEqualTo(13);
    assertThat(calls(SeamcallLeaf.TDH_VP_ADDCX)).isEqualTo(5);
  }

  @Test
  void initVm_twice_isEinval() {
    assertThat(init()).isEqualTo(Errno.OK);
    assertThat(init()).isEqualTo(Errno.EINVAL);
    assertThat(pagesOf(PageOwner.TD_CONTROL)).isEqualTo(7);
  }

  @Test
  void initVm_afterAFailedOne_isEinval() {
    injector().failNext(SeamcallLeaf.TDH_MNG_INIT, 1, TdxStatus.TDX_OPERAND_INVALID);
    assertThat(init()).isEqualTo(Errno.EIO);
    assertThat(init()).isEqualTo(Errno.EINVAL);
    destroyMustGiveEverythingBack();
  }

  @Test
  void initVcpu_beforeInitVm_isEio() {
    assertThat(commands.initVcpu(commands.createVcpu())).isEqualTo(Errno.EIO);
    assertThat(pagesOf(PageOwner.TD_CONTROL)).isZero();
  }

  @Test
  void initVcpu_twice_isEinvalAndTakesNothing() {
    assertThat(init()).isEqualTo(Errno.OK);
    VcpuTdx vcpu = commands.createVcpu();
    assertThat(commands.initVcpu(vcpu)).isEqualTo(Errno.OK);
    assertThat(commands.initVcpu(vcpu)).isEqualTo(Errno.EINVAL);
    assertThat(pagesOf(PageOwner.TD_CONTROL)).isEqualTo(13);
    destroyMustGiveEverythingBack();
  }

  @Test
  void initVcpu_ofMoreThanTheParamsAllow_isEio() {
    assertThat(commands.initVm(TdParams.defaults().withMaxVcpus(1))).isEqualTo(Errno.OK);
    assertThat(commands.initVcpu(commands.createVcpu())).isEqualTo(Errno.OK);
    assertThat(commands.initVcpu(commands.createVcpu())).isEqualTo(Errno.EIO);
    destroyMustGiveEverythingBack();
  }

  @ParameterizedTest
  @CsvSource({
    "td_control, 1",
    "td_control, 2",
    "td_control, 4",
    "td_control, 7",
    "pamt_cache, 1",
    "pamt_cache, 2",
    "pamt_cache, 3",
    "pamt_cache, 9",
    "pamt_cache, 14",
    "user_memory, 1",
  })
  void initVm_withoutMemoryAtAnAllocation_isEnomem_andDestroyGivesEverythingBack(
      String place, int nth) {
    host.pages().faults().failNext(place, nth);
    assertThat(init()).isEqualTo(Errno.ENOMEM);
    assertThat(kvm.state()).isEqualTo(TdState.UNINITIALIZED);
    destroyMustGiveEverythingBack();
  }

  @Test
  void initVm_withoutMemory_keepsNoKeyIfItHasNoTd() {
    host.pages().faults().failNext("td_control", 1);
    assertThat(init()).isEqualTo(Errno.ENOMEM);
    assertThat(kvm.hasHkid()).isFalse();
    assertThat(init()).isEqualTo(Errno.OK);
    assertThat(kvm.hkid()).isEqualTo(1);
  }

  @ParameterizedTest
  @CsvSource({
    "td_control, 1", "td_control, 2", "td_control, 3", "td_control, 6",
    "pamt_cache, 1", "pamt_cache, 2", "pamt_cache, 7", "pamt_cache, 12",
  })
  void initVcpu_withoutMemoryAtAnAllocation_isEnomem_andDestroyGivesEverythingBack(
      String place, int nth) {
    assertThat(init()).isEqualTo(Errno.OK);
    VcpuTdx vcpu = commands.createVcpu();
    host.pages().faults().failNext(place, nth);
    assertThat(commands.initVcpu(vcpu)).isEqualTo(Errno.ENOMEM);
    destroyMustGiveEverythingBack();
  }

  @ParameterizedTest
  @EnumSource(
      names = {
        "TDH_MNG_CREATE",
        "TDH_MNG_KEY_CONFIG",
        "TDH_MNG_ADDCX",
        "TDH_MNG_INIT",
        "TDH_PHYMEM_PAMT_ADD"
      })
  void initVm_refusedByTheModule_isAnError_andDestroyGivesEverythingBack(SeamcallLeaf leaf) {
    injector().failNext(leaf, 1, TdxStatus.TDX_OPERAND_INVALID);
    assertThat(init().isError()).isTrue();
    assertThat(kvm.state()).isEqualTo(TdState.UNINITIALIZED);
    destroyMustGiveEverythingBack();
  }

  @ParameterizedTest
  @EnumSource(names = {"TDH_VP_CREATE", "TDH_VP_ADDCX", "TDH_VP_INIT"})
  void initVcpu_refusedByTheModule_isEio_andDestroyGivesEverythingBack(SeamcallLeaf leaf) {
    assertThat(init()).isEqualTo(Errno.OK);
    injector().failNext(leaf, 1, TdxStatus.TDX_OPERAND_INVALID);
    assertThat(commands.initVcpu(commands.createVcpu())).isEqualTo(Errno.EIO);
    destroyMustGiveEverythingBack();
  }

  @Test
  void moreTdsThanKeys_areEbusy_untilOneGoes() {
    List<TdxCommands> tds = new ArrayList<>();
    for (int i = 0; i < 63; i++) {
      TdxCommands td = new TdxCommands(new KvmTdx(tdx, new AnonymousMemory(host.pages()), 4096));
      assertThat(td.initVm(TdParams.defaults())).as("TD %s", i).isEqualTo(Errno.OK);
      tds.add(td);
    }
    assertThat(init()).isEqualTo(Errno.EBUSY);
    assertThat(kvm.tdr()).isEqualTo(-1);

    tds.remove(40).destroy();
    assertThat(init()).isEqualTo(Errno.OK);
    assertThat(kvm.hkid()).isEqualTo(41);
    tds.forEach(TdxCommands::destroy);
  }

  @Test
  void initMemRegion_addsMeasured4KPages() {
    VcpuTdx vcpu = build();
    assertThat(commands.initMemRegion(vcpu, new GfnRange(0x1fe, 0x202))).isEqualTo(Errno.OK);
    assertThat(new MmuView(kvm.mmu()).mirrorLeafs())
        .hasSize(4)
        .allMatch(leaf -> leaf.level() == PageLevel.LEVEL_4K);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_ADD)).isEqualTo(4);
    assertThat(calls(SeamcallLeaf.TDH_MR_EXTEND)).isEqualTo(4 * 16);
    assertThat(pagesOf(PageOwner.USER_MEMORY)).isZero();
  }

  @Test
  void initMemRegion_thatCannotBe_isEinval() {
    VcpuTdx vcpu = build();
    assertThat(commands.initMemRegion(vcpu, new GfnRange(5, 5))).isEqualTo(Errno.EINVAL);
    assertThat(commands.initMemRegion(vcpu, new GfnRange(0x800, 0x801)))
        .as("shared")
        .isEqualTo(Errno.EINVAL);
    assertThat(commands.initMemRegion(vcpu, new GfnRange(0x2000, 0x2001)))
        .as("no slot")
        .isEqualTo(Errno.EINVAL);
    assertThat(commands.finalizeVm()).isEqualTo(Errno.OK);
    assertThat(commands.initMemRegion(vcpu, new GfnRange(0, 1)))
        .as("finalized")
        .isEqualTo(Errno.EINVAL);
    assertThat(pagesOf(PageOwner.USER_MEMORY)).isZero();
  }

  @ParameterizedTest
  @CsvSource({"user_memory, 1", "guest_memory, 2", "pamt_cache, 1", "mmu_page_table, 1"})
  void initMemRegion_withoutMemory_isEnomem_andDestroyGivesEverythingBack(String place, int nth) {
    VcpuTdx vcpu = build();
    host.pages().faults().failNext(place, nth);
    if (place.equals("guest_memory")) {
      host.pages().faults().failNext(place, 1); // The folio, and the single page in its stead.
    }
    assertThat(commands.initMemRegion(vcpu, new GfnRange(0, 4))).isEqualTo(Errno.ENOMEM);
    destroyMustGiveEverythingBack();
  }

  @Test
  void initMemRegion_whoseMeasurementFails_isEio() {
    VcpuTdx vcpu = build();
    injector().failNext(SeamcallLeaf.TDH_MR_EXTEND, 20, TdxStatus.TDX_OPERAND_INVALID);
    assertThat(commands.initMemRegion(vcpu, new GfnRange(0, 4))).isEqualTo(Errno.EIO);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_ADD)).isEqualTo(2);
    destroyMustGiveEverythingBack();
  }

  @Test
  void finalizeVm_outOfOrder_isEinval() {
    assertThat(commands.finalizeVm()).isEqualTo(Errno.EINVAL);
    build();
    assertThat(commands.finalizeVm()).isEqualTo(Errno.OK);
    assertThat(commands.finalizeVm()).isEqualTo(Errno.EINVAL);
  }

  @Test
  void finalizeVm_busy_canBeDoneAgain() {
    build();
    injector().failNext(SeamcallLeaf.TDH_MR_FINALIZE, 1, TdxStatus.TDX_OPERAND_BUSY | 144);
    assertThat(commands.finalizeVm()).isEqualTo(Errno.EBUSY);
    assertThat(kvm.state()).isEqualTo(TdState.INITIALIZED);
    assertThat(commands.finalizeVm()).isEqualTo(Errno.OK);
  }

  @Test
  void finalizeVm_withoutAVcpu_isEio() {
    assertThat(init()).isEqualTo(Errno.OK);
    assertThat(commands.finalizeVm()).isEqualTo(Errno.EIO);
    assertThat(kvm.state()).isEqualTo(TdState.INITIALIZED);
  }

  @Test
  void runningATdThatIsNotFinalized_isEinval() {
    VcpuTdx vcpu = build();
    assertThat(vcpu.run()).isEqualTo(new RunExit.Failed(Errno.EINVAL, "the TD is not finalized"));
    assertThat(calls(SeamcallLeaf.TDH_VP_ENTER)).isZero();
  }

  @Test
  void destroy_ofAVmThatWasNeverATd_doesNothing() {
    destroyMustGiveEverythingBack();
    assertThat(tdx.module().calls()).isEmpty();
  }

  @Test
  void destroy_reclaimsTheTdrLastAndFreesTheKey() {
    build();
    long tdr = kvm.tdr();
    destroyMustGiveEverythingBack();
    assertThat(kvm.hasHkid()).isFalse();
    assertThat(host.pages().historyOf(tdr)).endsWith("td_control->free");
    assertThat(tdx.allocHkid()).isEqualTo(1);
  }

  @Test
  void destroy_whereTheModuleKeepsAPage_leaksItAndTheTdr() {
    letPagesStay();
    build();
    destroyed = true;
    requireFile().release();
    injector().failNext(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM, 1, TdxStatus.TDX_OPERAND_BUSY);
    commands.destroy();
    assertThat(pagesOf(PageOwner.TD_CONTROL)).isEqualTo(2);
  }

  private GuestMemfd requireFile() {
    return requireNonNull(file);
  }
}
