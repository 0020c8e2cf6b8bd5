package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.kernel.LockMode;
import java.util.List;
import org.junit.jupiter.api.Test;

/** TDH.MEM.SEPT.ADD, SEPT.RD and SEPT.REMOVE. */
final class SeptLeafsTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;

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

  @Test
  void read_ofNestedAttributes_isForDebugTds() {
    SeamRegs asked = host.call(SeamcallLeaf.TDH_MEM_SEPT_RD, 3, td.tdr | 1);
    assertStatus(asked.rax, TdxStatus.TDX_OPERAND_INVALID | OperandId.RDX);
    assertThat(asked.rcx).isZero();
    TestTd debug = host.runnableTd(TdParams.defaults().withAttributes(TdParams.DEBUG));
    SeamRegs shown = host.mustCall(SeamcallLeaf.TDH_MEM_SEPT_RD, 3, debug.tdr | 1, -1);
    assertThat(List.of(shown.rcx, shown.rdx, shown.r8)).containsExactly(1L << 63, 3L, 0L);
  }

  @Test
  void remove_givesTheTableBack() {
    td.addTables(GPA, 0);
    long table = module.view().tables(td.tdr).get(2).hpa();
    long children = module.view().childCount(td.tdr);
    td.blockAndTrack(GPA, 1);
    SeamRegs removed = remove(1, 1);
    assertThat(List.of(removed.rax, removed.rcx, removed.rdx, removed.r9, removed.r10, removed.r11))
        .containsExactly(0L, table, 0L, -1L, -1L, -1L);
    assertThat(module.view().tables(td.tdr)).hasSize(2);
    assertThat(module.view().childCount(td.tdr)).isEqualTo(children - 1);
    assertThat(module.view().assignedPages()).doesNotContainKey(table);
    assertThat(td.read(GPA, 1).rdx).isEqualTo(1);
  }

  @Test
  void remove_ofLastPageInItsRegion_hintsAtTheRemoval() {
    long region = host.largePage();
    host.addPair(region);
    assertStatus(add(3, region).rax, 0);
    td.blockAndTrack(0, 3);
    SeamRegs removed = host.call(SeamcallLeaf.TDH_MEM_SEPT_REMOVE, 3, td.tdr);
    assertThat(removed.rcx).isEqualTo(region | 1L << 62);
    assertThat(removed.r9).isZero();
  }

  @Test
  void remove_checksInOrder() {
    td.augSmall(GPA);
    assertStatus(remove(2, 1).rax, TdxStatus.TDX_OPERAND_INVALID | OperandId.RAX);
    assertStatus(remove(1, 0).rax, TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX);
    SeamRegs unblocked = remove(0, 1);
    assertStatus(unblocked.rax, TdxStatus.TDX_GPA_RANGE_NOT_BLOCKED | OperandId.RCX);
    assertThat(unblocked.rdx).isEqualTo(0x8401);
    assertStatus(td.block(GPA, 1), 0);
    assertStatus(remove(0, 1).rax, TdxStatus.TDX_TLB_TRACKING_NOT_DONE | OperandId.RCX);
    assertStatus(td.track(), 0);
    SeamRegs used = remove(0, 1);
    assertStatus(used.rax, TdxStatus.TDX_EPT_PAGE_NOT_FREE | OperandId.RCX);
    assertThat(used.rdx).isEqualTo(0x8101);
    PamtEntry table = module.state().pamt().entry(module.view().tables(td.tdr).get(2).hpa(), 0);
    table.tryLock(LockMode.SHARED);
    assertStatus(remove(0, 1).rax, TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);
    table.unlock(LockMode.SHARED);
    assertStatus(
        host.call(SeamcallLeaf.TDH_MEM_SEPT_REMOVE, 0x1000_0000_0000L | 3, td.tdr).rax,
        TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT | OperandId.RCX);
  }

  private SeamRegs remove(int version, int level) {
    return host.call(
        SeamRegs.leaf(SeamcallLeaf.TDH_MEM_SEPT_REMOVE, version).rcx(GPA | level).rdx(td.tdr));
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
