package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A TD from MNG.CREATE to the last PAGE.RECLAIM, and what is refused out of order. */
final class LifecycleTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void wholeLife_endsWithEverythingBack(boolean dynamic) {
    TdxModule other =
        new TdxModule(kernel, TdxModuleConfig.defaults().withDynamicPamt(dynamic), GIB);
    TestHost otherHost = new TestHost(other);
    TestTd td = otherHost.createTd();
    td.addVcpu();
    td.addVcpu();
    td.addTables(0, 0);
    addMeasuredPage(otherHost, td, 0);
    otherHost.mustCall(SeamcallLeaf.TDH_MR_FINALIZE, td.tdr, 0);
    td.augLarge(GPA);
    td.augSmall(GPA + TestHost.MIB_2);
    td.blockAndTrack(GPA, 1);
    assertStatus(td.demote(GPA).rax, 0);
    td.augLarge(GPA + 2 * TestHost.MIB_2);
    assertThat(other.view().violations()).isEmpty();

    td.tearDown();
    assertThat(other.view().assignedPages()).isEmpty();
    assertThat(other.view().violations()).isEmpty();
    for (long region : other.view().pamtPairs().keySet()) {
      otherHost.mustCall(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, region | 1, 0);
    }
    assertThat(other.view().pamtPairs()).isEmpty();
    assertThat(other.view().violations()).isEmpty();
    otherHost.mustCall(SeamcallLeaf.TDH_PHYMEM_PAGE_WBINVD, td.tdr | 1L << 45, 0);
  }

  @Test
  void mngCreate_withHkidInUse_isHkidNotFree() {
    host.mustCall(SeamcallLeaf.TDH_MNG_CREATE, host.controlPage(), 9);
    assertStatus(create(9), TdxStatus.TDX_HKID_NOT_FREE);
    assertStatus(create(127), TdxStatus.TDX_HKID_NOT_FREE);
    assertStatus(create(0), TdxStatus.TDX_OPERAND_INVALID | OperandId.RDX);
  }

  @Test
  void mngInit_withoutTdcs_isTdcsNotAllocated() {
    long tdr = host.controlPage();
    host.mustCall(SeamcallLeaf.TDH_MNG_CREATE, tdr, 1);
    assertStatus(init(tdr), TdxStatus.TDX_TD_KEYS_NOT_CONFIGURED);
    host.mustCall(SeamcallLeaf.TDH_MNG_KEY_CONFIG, tdr, 0);
    assertStatus(init(tdr), TdxStatus.TDX_TDCS_NOT_ALLOCATED);
    assertStatus(
        host.call(SeamcallLeaf.TDH_MNG_KEY_CONFIG, tdr, 0).rax,
        TdxStatus.TDX_LIFECYCLE_STATE_INCORRECT);
  }

  @Test
  void mngInit_twice_isOpStateIncorrect() {
    TestTd td = host.createTd();
    assertStatus(init(td.tdr), TdxStatus.TDX_OP_STATE_INCORRECT | 1);
    assertStatus(
        host.call(SeamcallLeaf.TDH_MNG_ADDCX, host.controlPage(), td.tdr).rax,
        TdxStatus.TDX_OP_STATE_INCORRECT | 1);
  }

  @Test
  void mrFinalize_withoutVcpus_isNoVcpus() {
    TestTd td = host.createTd();
    assertStatus(host.call(SeamcallLeaf.TDH_MR_FINALIZE, td.tdr, 0).rax, TdxStatus.TDX_NO_VCPUS);
  }

  @Test
  void vpInit_beyondTheLimitOrWithTheSameId_isRefused() {
    TestTd td = host.createTd(TdParams.defaults().withMaxVcpus(2));
    td.addVcpu();
    long tdvpr = vcpuWithPages(td, 4);
    assertStatus(vpInit(tdvpr, 1), TdxStatus.TDX_TDCX_NUM_INCORRECT);
    host.mustCall(SeamcallLeaf.TDH_VP_ADDCX, host.controlPage(), tdvpr);
    assertStatus(vpInit(tdvpr, 0), TdxStatus.TDX_X2APIC_ID_NOT_UNIQUE);
    assertStatus(vpInit(tdvpr, 1), 0);
    assertStatus(vpInit(tdvpr, 1), TdxStatus.TDX_VCPU_STATE_INCORRECT | 2);
    assertStatus(vpInit(vcpuWithPages(td, 5), 2), TdxStatus.TDX_MAX_VCPUS_EXCEEDED);
  }

  @Test
  void pageAdd_afterFinalize_isOpStateIncorrect() {
    TestTd td = host.runnableTd();
    SeamRegs add = host.call(SeamcallLeaf.TDH_MEM_PAGE_ADD, GPA, td.tdr, host.controlPage());
    assertStatus(add.rax, TdxStatus.TDX_OP_STATE_INCORRECT | 2);
  }

  @Test
  void mrExtend_tellsBuildsApart() {
    TestTd one = host.createTd();
    TestTd two = host.createTd();
    one.addTables(0, 0);
    two.addTables(0, 0);
    addMeasuredPage(host, one, 0);
    addMeasuredPage(host, two, 0);
    assertThat(module.view().measurement(one.tdr)).isEqualTo(module.view().measurement(two.tdr));
    host.mustCall(SeamcallLeaf.TDH_MR_EXTEND, 0x100, one.tdr);
    assertThat(module.view().measurement(one.tdr)).isNotEqualTo(module.view().measurement(two.tdr));
    assertStatus(
        host.call(SeamcallLeaf.TDH_MR_EXTEND, 0x80, one.tdr).rax,
        TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX);
    assertStatus(
        host.call(SeamcallLeaf.TDH_MR_EXTEND, 0x1000, one.tdr).rax,
        TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT | OperandId.RCX);
  }

  @Test
  void teardown_outOfOrder_isRefused() {
    TestTd td = host.runnableTd();
    assertStatus(reclaim(td.vcpu()), TdxStatus.TDX_LIFECYCLE_STATE_INCORRECT);
    assertStatus(teardown(SeamcallLeaf.TDH_MNG_VPFLUSHDONE, td), TdxStatus.TDX_FLUSHVP_NOT_DONE);
    assertStatus(
        host.call(SeamcallLeaf.TDH_PHYMEM_CACHE_WB, 0, 0).rax,
        TdxStatus.TDX_NO_HKID_READY_TO_WBCACHE);
    host.mustCall(SeamcallLeaf.TDH_VP_FLUSH, td.vcpu(), 0);
    assertStatus(
        host.call(SeamcallLeaf.TDH_VP_FLUSH, td.vcpu(), 0).rax, TdxStatus.TDX_VCPU_NOT_ASSOCIATED);
    assertStatus(
        teardown(SeamcallLeaf.TDH_MNG_KEY_FREEID, td), TdxStatus.TDX_LIFECYCLE_STATE_INCORRECT);
    assertStatus(teardown(SeamcallLeaf.TDH_MNG_VPFLUSHDONE, td), 0);
    assertStatus(td.track(), TdxStatus.TDX_TD_KEYS_NOT_CONFIGURED);
    assertStatus(teardown(SeamcallLeaf.TDH_MNG_KEY_FREEID, td), TdxStatus.TDX_WBCACHE_NOT_COMPLETE);
    host.mustCall(SeamcallLeaf.TDH_PHYMEM_CACHE_WB, 0, 0);
    assertStatus(teardown(SeamcallLeaf.TDH_MNG_KEY_FREEID, td), 0);
    assertStatus(reclaim(td.tdr), TdxStatus.TDX_TD_ASSOCIATED_PAGES_EXIST);
  }

  @Test
  void cacheWb_interrupted_isResumedOnce() {
    TestTd td = host.runnableTd();
    host.mustCall(SeamcallLeaf.TDH_VP_FLUSH, td.vcpu(), 0);
    assertStatus(teardown(SeamcallLeaf.TDH_MNG_VPFLUSHDONE, td), 0);
    assertStatus(writeBack(1), TdxStatus.TDX_WBCACHE_RESUME_ERROR);
    assertStatus(writeBack(0), TdxStatus.TDX_INTERRUPTED_RESUMABLE);
    assertStatus(teardown(SeamcallLeaf.TDH_MNG_KEY_FREEID, td), TdxStatus.TDX_WBCACHE_NOT_COMPLETE);
    assertStatus(writeBack(1), 0);
    assertStatus(teardown(SeamcallLeaf.TDH_MNG_KEY_FREEID, td), 0);
  }

  @Test
  void reclaim_reportsTheLargePage() {
    TestTd td = host.runnableTd();
    long hpa = td.augLarge(GPA);
    SeamRegs inside = host.call(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM, hpa + 0x1000, 0);
    assertStatus(inside.rax, TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX);
    assertThat(inside.rcx).isEqualTo(PageType.REG.code());
    assertThat(inside.rdx).isEqualTo(td.tdr);
    assertThat(inside.r8).isEqualTo(1);
    assertStatus(reclaim(host.largePage()), TdxStatus.TDX_PAGE_METADATA_INCORRECT | OperandId.RCX);
  }

  private static void addMeasuredPage(TestHost host, TestTd td, long gpa) {
    host.mustCall(
        SeamRegs.leaf(SeamcallLeaf.TDH_MEM_PAGE_ADD)
            .rcx(gpa)
            .rdx(td.tdr)
            .r8(host.controlPage())
            .r9(0x1000));
    host.mustCall(SeamcallLeaf.TDH_MR_EXTEND, gpa, td.tdr);
  }

  private long vcpuWithPages(TestTd td, int pages) {
    long tdvpr = host.controlPage();
    host.mustCall(SeamcallLeaf.TDH_VP_CREATE, tdvpr, td.tdr);
    for (int i = 0; i < pages; i++) {
      host.mustCall(SeamcallLeaf.TDH_VP_ADDCX, host.controlPage(), tdvpr);
    }
    return tdvpr;
  }

  private long vpInit(long tdvpr, long x2apicId) {
    return host.call(SeamRegs.leaf(SeamcallLeaf.TDH_VP_INIT, 1).rcx(tdvpr).r8(x2apicId)).rax;
  }

  private long create(long hkid) {
    return host.call(SeamcallLeaf.TDH_MNG_CREATE, host.controlPage(), hkid).rax;
  }

  private long init(long tdr) {
    module.writeTdParams(0x1000, TdParams.defaults());
    return host.call(SeamcallLeaf.TDH_MNG_INIT, tdr, 0x1000).rax;
  }

  private long reclaim(long hpa) {
    return host.call(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM, hpa, 0).rax;
  }

  private long teardown(SeamcallLeaf leaf, TestTd td) {
    return host.call(leaf, td.tdr, 0).rax;
  }

  private long writeBack(long resume) {
    return host.call(
            SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_CACHE_WB).rcx(resume), new ScriptedGuest())
        .rax;
  }
}
