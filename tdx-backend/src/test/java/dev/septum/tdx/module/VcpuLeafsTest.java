package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.LockMode;
import org.junit.jupiter.api.Test;

/** The leafs that give pages to a TD and to its vCPUs: their limits, their order, their locks. */
final class VcpuLeafsTest extends ModuleTestCase {

  private static final long NUM_INCORRECT = TdxStatus.TDX_TDCX_NUM_INCORRECT;

  @Test
  void mngCreate_checksInOrder() {
    long page = host.controlPage();
    assertCreate(1, 0, TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX);
    assertCreate(GIB, 0, TdxStatus.TDX_OPERAND_ADDR_RANGE_ERROR | OperandId.RCX);
    assertCreate(host.largePage(), 0, TdxStatus.TDX_MISSING_PAMT_PAGE_PAIR | OperandId.RCX);
    assertCreate(page, 0, TdxStatus.TDX_OPERAND_INVALID | OperandId.RDX);
    SharexLock kot = module.state().keys().lock();
    kot.tryLock(LockMode.SHARED);
    assertCreate(page, 127, TdxStatus.TDX_OPERAND_BUSY | OperandId.KOT);
    kot.unlock(LockMode.SHARED);
    assertCreate(page, 127, TdxStatus.TDX_HKID_NOT_FREE);
    assertCreate(page, 1, 0);
    assertCreate(page, 2, TdxStatus.TDX_PAGE_METADATA_INCORRECT | OperandId.RCX);
  }

  @Test
  void mngAddcx_needsKeysAndStopsAtNine() {
    long tdr = host.controlPage();
    host.mustCall(SeamcallLeaf.TDH_MNG_CREATE, tdr, 1);
    assertAddcx(0, tdr, TdxStatus.TDX_TD_KEYS_NOT_CONFIGURED);
    host.mustCall(SeamcallLeaf.TDH_MNG_KEY_CONFIG, tdr, 0);
    assertAddcx(tdr, tdr, TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);
    for (int i = 0; i < 9; i++) {
      assertAddcx(host.controlPage(), tdr, 0);
    }
    assertAddcx(0, tdr, NUM_INCORRECT);
    assertThat(module.view().childCount(tdr)).isEqualTo(9);
  }

  @Test
  void vpCreate_checksTdThenPage() {
    long tdr = host.controlPage();
    host.mustCall(SeamcallLeaf.TDH_MNG_CREATE, tdr, 50);
    assertVpCreate(0, tdr, TdxStatus.TDX_TD_KEYS_NOT_CONFIGURED);
    host.mustCall(SeamcallLeaf.TDH_MNG_KEY_CONFIG, tdr, 0);
    assertVpCreate(0, tdr, TdxStatus.TDX_TDCS_NOT_ALLOCATED);
    TestTd td = host.createTd();
    assertVpCreate(td.tdr, td.tdr, TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);
    assertVpCreate(tdr, td.tdr, TdxStatus.TDX_PAGE_METADATA_INCORRECT | OperandId.RCX);
    td.addVcpu();
    host.mustCall(SeamcallLeaf.TDH_MR_FINALIZE, td.tdr, 0);
    assertVpCreate(0, td.tdr, TdxStatus.TDX_OP_STATE_INCORRECT | 2);
  }

  @Test
  void vpAddcx_stopsAtFifteenAndAfterInit() {
    TestTd td = host.createTd();
    long tdvpr = td.addVcpu();
    long page = host.controlPage();
    assertVpAddcx(page, tdvpr, TdxStatus.TDX_VCPU_STATE_INCORRECT | 2);
    assertVpAddcx(page, td.tdr, TdxStatus.TDX_PAGE_METADATA_INCORRECT | OperandId.RDX);
    long other = host.controlPage();
    assertVpCreate(other, td.tdr, 0);
    assertVpAddcx(other, other, TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);
    for (int i = 0; i < 14; i++) {
      assertVpAddcx(host.controlPage(), other, 0);
    }
    assertVpAddcx(page, other, NUM_INCORRECT);
  }

  @Test
  void vpInit_ofUnknownVersion_isOperandInvalid() {
    assertStatus(
        host.call(SeamRegs.leaf(SeamcallLeaf.TDH_VP_INIT, 2)).rax,
        TdxStatus.TDX_OPERAND_INVALID | OperandId.RAX);
  }

  @Test
  void vpInit_version0_claimsNoId() {
    TestTd td = host.createTd();
    for (int i = 0; i < 2; i++) {
      long tdvpr = host.controlPage();
      assertVpCreate(tdvpr, td.tdr, 0);
      for (int page = 0; page < 5; page++) {
        assertVpAddcx(host.controlPage(), tdvpr, 0);
      }
      host.mustCall(SeamcallLeaf.TDH_VP_INIT, tdvpr, 0);
    }
    assertThat(module.state().td(td.tdr).x2apicIds).isEmpty();
    assertThat(module.state().td(td.tdr).vcpus().get()).isEqualTo(2);
  }

  @Test
  void vpEnter_ofVcpuThatIsNotReady_isStateIncorrect() {
    TestTd td = host.createTd();
    td.addVcpu();
    long raw = host.controlPage();
    assertVpCreate(raw, td.tdr, 0);
    host.mustCall(SeamcallLeaf.TDH_MR_FINALIZE, td.tdr, 0);
    assertStatus(
        host.call(SeamcallLeaf.TDH_VP_ENTER, raw, 0).rax, TdxStatus.TDX_VCPU_STATE_INCORRECT);
    assertStatus(
        host.call(SeamcallLeaf.TDH_VP_ENTER, td.vcpu() | 1L << 54, 0).rax,
        TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX);
    SeamRegs flagged = SeamRegs.leaf(SeamcallLeaf.TDH_VP_ENTER).rcx(td.vcpu() | 3L << 52);
    assertThat(host.call(flagged, new ScriptedGuest()).rax).isEqualTo(1);
  }

  @Test
  void keyReclaimid_doesNothingWhateverItsOperands() {
    SeamRegs regs = host.call(SeamcallLeaf.TDH_MNG_KEY_RECLAIMID, -1, -1);
    assertThat(regs.toString()).startsWith("rax=0 rcx=ffffffffffffffff rdx=ffffffffffffffff r8=0");
  }

  private void assertCreate(long page, long hkid, long status) {
    assertStatus(host.call(SeamcallLeaf.TDH_MNG_CREATE, page, hkid).rax, status);
  }

  private void assertAddcx(long page, long tdr, long status) {
    assertStatus(host.call(SeamcallLeaf.TDH_MNG_ADDCX, page, tdr).rax, status);
  }

  private void assertVpCreate(long page, long tdr, long status) {
    assertStatus(host.call(SeamcallLeaf.TDH_VP_CREATE, page, tdr).rax, status);
  }

  private void assertVpAddcx(long page, long tdvpr, long status) {
    assertStatus(host.call(SeamcallLeaf.TDH_VP_ADDCX, page, tdvpr).rax, status);
  }
}
