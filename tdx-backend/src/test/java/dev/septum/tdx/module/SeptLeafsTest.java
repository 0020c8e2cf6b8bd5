package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

/** TDH.MEM.SEPT.ADD and SEPT.RD. */
final class SeptLeafsTest extends ModuleTestCase {

  private final TestTd td = host.runnableTd();

  @Test
  void add_buildsOneTableAfterTheOther() {
    SeamRegs early = add(2, host.controlPage());
    assertStatus(early.rax, TdxStatus.TDX_EPT_WALK_FAILED | OperandId.RCX);
    assertThat(early.rcx).isEqualTo(1L << 63);
    assertThat(early.rdx).isEqualTo(3);
    long before = module.view().childCount(td.tdr);
    long table = host.controlPage();
    assertStatus(add(3, table).rax, 0);
    assertThat(module.view().tables(td.tdr))
        .containsExactly(new TdxModuleView.SeptTable(0, 3, table));
    assertThat(module.view().childCount(td.tdr)).isEqualTo(before + 1);
  }

  @Test
  void add_whereATableIs_needsAllowExisting() {
    td.addTables(0, 2);
    SeamRegs again = add(3, host.controlPage());
    assertStatus(again.rax, TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT | OperandId.RCX);
    assertThat(again.rcx).isEqualTo(0x407);
    assertThat(again.rdx).isEqualTo(0x8403);
    long page = host.controlPage();
    assertStatus(host.call(SeamcallLeaf.TDH_MEM_SEPT_ADD, 3, td.tdr | 1, page).rax, 0);
  }

  @Test
  void add_version1_saysWhatBecameOfThePage() {
    long page = host.controlPage();
    assertThat(host.mustCall(addVersion1(page, 0)).r8).isEqualTo(TestHost.NULL_PA);
    long unused = host.controlPage();
    assertThat(host.mustCall(addVersion1(unused, 1)).r8).isEqualTo(unused | 1L << 63);
    assertStatus(host.call(addVersion1(TestHost.NULL_PA, 0)).rax, 0);
  }

  @Test
  void add_version1_withNestedPages_isOperandInvalid() {
    SeamRegs regs = addVersion1(host.controlPage(), 0).r10(host.controlPage());
    assertStatus(host.call(regs).rax, TdxStatus.TDX_OPERAND_INVALID | OperandId.R10);
    assertThat(module.view().tables(td.tdr)).isEmpty();
  }

  @Test
  void add_withoutPage_isOperandInvalid() {
    assertStatus(add(3, TestHost.NULL_PA).rax, TdxStatus.TDX_OPERAND_INVALID | OperandId.R8);
    assertStatus(
        host.call(addVersion1(TestHost.NULL_PA, 0)).rax,
        TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT | OperandId.RCX);
  }

  @Test
  void levels_areThoseOfTheTd() {
    long invalid = TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX;
    assertStatus(add(0, host.controlPage()).rax, invalid);
    assertStatus(add(4, host.controlPage()).rax, invalid);
    TestTd wide = host.runnableTd(TdParams.defaults().withGpaw(true));
    long gpa = 1L << 50;
    wide.augLarge(gpa);
    assertThat(wide.read(gpa, 4).rdx).isEqualTo(0x8404);
    assertThat(wide.read(gpa, 1).rdx).isEqualTo(0x0201);
    assertStatus(wide.read(1L << 51, 4).rax, invalid);
  }

  @Test
  void fourLevelModule_refusesWideTds() {
    TdxModule narrow = new TdxModule(kernel, TdxModuleConfig.defaults().withFiveLevel(false), GIB);
    TestHost narrowHost = new TestHost(narrow);
    TestTd started = narrowHost.createTd();
    assertThat(narrow.view().leafs(started.tdr)).isEmpty();
    assertThatThrownBy(() -> narrowHost.createTd(TdParams.defaults().withGpaw(true)))
        .hasMessageContaining("TDH_MNG_INIT: TDX_OPERAND_INVALID | RDX");
  }

  private SeamRegs add(int level, long page) {
    return host.call(SeamcallLeaf.TDH_MEM_SEPT_ADD, level, td.tdr, page);
  }

  private SeamRegs addVersion1(long page, int flags) {
    return SeamRegs.leaf(SeamcallLeaf.TDH_MEM_SEPT_ADD, 1)
        .rcx(3)
        .rdx(td.tdr | flags)
        .r8(page)
        .r9(TestHost.NULL_PA)
        .r10(TestHost.NULL_PA)
        .r11(TestHost.NULL_PA);
  }
}
