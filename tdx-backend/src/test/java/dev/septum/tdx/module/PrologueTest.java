package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Steps P2 to P11, which all leafs on the S-EPT share: with all wrong, the first is reported. */
final class PrologueTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;
  private static final long BAD_RCX = -1;

  @ParameterizedTest
  @EnumSource(
      names = {
        "TDH_MEM_PAGE_AUG",
        "TDH_MEM_SEPT_ADD",
        "TDH_MEM_PAGE_REMOVE",
        "TDH_MEM_PAGE_RELOCATE",
        "TDH_MEM_PAGE_DEMOTE",
        "TDH_MEM_PAGE_PROMOTE",
        "TDH_MEM_SEPT_REMOVE",
        "TDH_MEM_SEPT_RD",
        "TDH_MEM_RANGE_BLOCK",
        "TDH_MEM_RANGE_UNBLOCK"
      })
  void stepsComeInOrder(SeamcallLeaf leaf) {
    assertRefused(leaf, BAD_RCX, 8, TdxStatus.TDX_OPERAND_INVALID | OperandId.RDX);
    assertRefused(leaf, BAD_RCX, 1L << 45, TdxStatus.TDX_OPERAND_INVALID | OperandId.RDX);
    assertRefused(leaf, BAD_RCX, GIB, TdxStatus.TDX_OPERAND_ADDR_RANGE_ERROR | OperandId.RDX);
    long tdr = host.controlPage();
    contend(leaf, OperandId.RDX);
    assertRefused(leaf, BAD_RCX, tdr, TdxStatus.TDX_OPERAND_BUSY | OperandId.RDX);
    assertRefused(leaf, BAD_RCX, tdr, TdxStatus.TDX_PAGE_METADATA_INCORRECT | OperandId.RDX);
    host.mustCall(SeamcallLeaf.TDH_MNG_CREATE, tdr, 40);
    module.breakTd(tdr);
    assertRefused(leaf, BAD_RCX, tdr, TdxStatus.TDX_TD_FATAL);
    module.state().td(tdr).fatal.set(0);
    assertRefused(leaf, BAD_RCX, tdr, TdxStatus.TDX_TD_KEYS_NOT_CONFIGURED);
    host.mustCall(SeamcallLeaf.TDH_MNG_KEY_CONFIG, tdr, 0);
    for (int i = 0; i < 5; i++) {
      host.mustCall(SeamcallLeaf.TDH_MNG_ADDCX, host.controlPage(), tdr);
    }
    contend(leaf, OperandId.OP_STATE);
    assertRefused(leaf, BAD_RCX, tdr, TdxStatus.TDX_TDCS_NOT_ALLOCATED);
    host.mustCall(SeamcallLeaf.TDH_MNG_ADDCX, host.controlPage(), tdr);
    contend(leaf, OperandId.OP_STATE);
    assertRefused(leaf, BAD_RCX, tdr, TdxStatus.TDX_OPERAND_BUSY | OperandId.OP_STATE);
    assertRefused(leaf, BAD_RCX, tdr, TdxStatus.TDX_OP_STATE_INCORRECT);

    long td = host.runnableTd().tdr;
    int level = level(leaf);
    for (long rcx :
        new long[] {
          GPA | level | 8,
          GPA | level | 1L << 11,
          GPA | level | 1L << 52,
          GPA | 7,
          GPA | (1L << 47) | level
        }) {
      contend(leaf, OperandId.SEPT_TREE);
      assertRefused(leaf, rcx, td, TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX);
      module.injector().clear();
    }
    contend(leaf, OperandId.SEPT_TREE);
    assertRefused(leaf, GPA | level, td, TdxStatus.TDX_OPERAND_BUSY | OperandId.SEPT_TREE);
    contend(leaf, OperandId.SEPT_ENTRY);
    SeamRegs walk = call(leaf, GPA | level, td);
    assertStatus(walk.rax, TdxStatus.TDX_EPT_WALK_FAILED | OperandId.RCX);
    assertThat(walk.rcx).isEqualTo(1L << 63);
    assertThat(walk.rdx).isEqualTo(3);
  }

  @ParameterizedTest
  @EnumSource(
      names = {
        "TDH_MEM_SEPT_ADD",
        "TDH_MEM_SEPT_RD",
        "TDH_MEM_SEPT_REMOVE",
        "TDH_MEM_RANGE_BLOCK",
        "TDH_MEM_RANGE_UNBLOCK"
      })
  void entryLock_comesBeforeTheState(SeamcallLeaf leaf) {
    long td = host.runnableTd().tdr;
    contend(leaf, OperandId.SEPT_ENTRY);
    SeamRegs busy = call(leaf, 3, td);
    assertStatus(busy.rax, TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);
    assertThat(busy.rcx).isEqualTo(1L << 63);
    assertThat(busy.rdx).isEqualTo(3);
  }

  private void contend(SeamcallLeaf leaf, int operand) {
    module.injector().on(leaf).contend(operand);
  }

  private SeamRegs call(SeamcallLeaf leaf, long rcx, long rdx) {
    return host.call(SeamRegs.leaf(leaf).rcx(rcx).rdx(rdx).r8(GIB));
  }

  private void assertRefused(SeamcallLeaf leaf, long rcx, long rdx, long status) {
    SeamRegs regs = call(leaf, rcx, rdx);
    assertStatus(regs.rax, status);
    assertThat(regs.rcx | regs.rdx).isZero();
  }

  private static int level(SeamcallLeaf leaf) {
    return leaf == SeamcallLeaf.TDH_MEM_PAGE_RELOCATE ? 0 : 1;
  }
}
