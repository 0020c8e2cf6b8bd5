package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.LockMode;
import java.util.List;
import org.junit.jupiter.api.Test;

/** PAGE.ADD, AUG, REMOVE and RELOCATE, and the debug TD's MEM.RD and MEM.WR. */
final class PageLeafsTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;
  private static final long RCX = OperandId.RCX;

  private final TestTd td =
      host.runnableTd(TdParams.defaults().withAttributes(TdParams.DEBUG | 1L << 28));

  @Test
  void pageAdd_checksItsOperandsInOrder() {
    TestTd building = host.createTd();
    building.addTables(GPA, 0);
    long page = host.controlPage();
    assertAdd(building, GPA | 1, page, 0x1001, TdxStatus.TDX_OPERAND_INVALID | RCX);
    assertAdd(building, GPA << 2, page, 0x1001, TdxStatus.TDX_EPT_WALK_FAILED | RCX);
    assertAdd(building, GPA, GIB, 0x1001, TdxStatus.TDX_OPERAND_INVALID | OperandId.R9);
    assertAdd(building, GPA, GIB, 1L << 45, TdxStatus.TDX_OPERAND_INVALID | OperandId.R9);
    assertAdd(building, GPA, GIB, 0, TdxStatus.TDX_OPERAND_ADDR_RANGE_ERROR | OperandId.R8);
    assertAdd(building, GPA, page, 0, 0);
    assertAdd(building, GPA, page, 0x1001, TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT | RCX);
    assertThat(module.view().leafs(building.tdr))
        .containsExactly(new TdxModuleView.SeptLeaf(GPA, 0, SeptState.MAPPED, page, false));
  }

  @Test
  void pageAdd_needsTheTdForItself() {
    TestTd building = host.createTd();
    PamtEntry tdr = module.state().pamt().entry(building.tdr, 0);
    tdr.tryLock(LockMode.SHARED);
    assertAdd(building, GPA, 0, 0, TdxStatus.TDX_OPERAND_BUSY | OperandId.RDX);
    tdr.unlock(LockMode.SHARED);
  }

  @Test
  void remove_ofLargePage_returnsItWithoutHint() {
    long hpa = td.augLarge(GPA);
    long children = module.view().childCount(td.tdr);
    td.blockAndTrack(GPA, 1);
    assertThat(td.remove(GPA, 1).rcx).isEqualTo(hpa);
    assertThat(module.view().childCount(td.tdr)).isEqualTo(children - 512);
    assertThat(module.view().leafs(td.tdr)).isEmpty();
    SeamRegs table = td.remove(GPA, 2);
    assertStatus(table.rax, TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT | RCX);
    assertThat(table.rdx).isEqualTo(0x8402);
  }

  @Test
  void remove_ofPageWithBusyPamtEntry_isBusyWithoutEntryInfo() {
    long hpa = td.augSmall(GPA);
    td.blockAndTrack(GPA, 0);
    PamtEntry entry = module.state().pamt().entry(hpa, 0);
    entry.tryLock(LockMode.SHARED);
    SeamRegs busy = td.remove(GPA, 0);
    assertThat(List.of(busy.rax, busy.rcx, busy.rdx))
        .containsExactly(TdxStatus.TDX_OPERAND_BUSY | RCX, 0L, 0L);
    entry.unlock(LockMode.SHARED);
  }

  @Test
  void relocate_movesPageAndContents() {
    long old = td.augSmall(GPA);
    td.run(ScriptedGuest.accept(GPA, 0));
    assertStatus(write(GPA + 0x10, 77).rax, 0);
    td.blockAndTrack(GPA, 0);
    long page = host.controlPage();
    SeamRegs moved = relocate(GPA, page);
    assertThat(List.of(moved.rax, moved.rcx, moved.rdx)).containsExactly(0L, old, 0L);
    assertThat(module.view().leafs(td.tdr))
        .containsExactly(new TdxModuleView.SeptLeaf(GPA, 0, SeptState.MAPPED, page, false));
    assertThat(read(GPA + 0x10).r8).isEqualTo(77);
    assertThat(module.view().assignedPages())
        .containsEntry(page, PageType.REG)
        .doesNotContainKey(old);
  }

  @Test
  void relocate_ofLastPage_hintsAtTheRemoval() {
    td.addTables(GPA, 0);
    long region = host.largePage();
    host.addPair(region);
    host.mustCall(SeamcallLeaf.TDH_MEM_PAGE_AUG, GPA, td.tdr, region);
    td.blockAndTrack(GPA, 0);
    assertThat(relocate(GPA, host.controlPage()).rcx).isEqualTo(region | 1L << 62);
    assertThat(td.read(GPA, 0).rdx).isEqualTo(0x0200);
  }

  @Test
  void relocate_checksInOrder() {
    long hpa = td.augSmall(GPA);
    assertStatus(relocate(GPA | 1, hpa).rax, TdxStatus.TDX_OPERAND_INVALID | RCX);
    assertStatus(relocate(GPA + 4096, hpa).rax, TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT | RCX);
    assertStatus(relocate(GPA, hpa).rax, TdxStatus.TDX_OPERAND_INVALID | OperandId.R8);
    assertStatus(relocate(GPA, td.tdr).rax, TdxStatus.TDX_GPA_RANGE_NOT_BLOCKED | RCX);
    td.block(GPA, 0);
    assertStatus(relocate(GPA, td.tdr).rax, TdxStatus.TDX_TLB_TRACKING_NOT_DONE | RCX);
    td.track();
    assertStatus(relocate(GPA, td.tdr).rax, TdxStatus.TDX_OPERAND_BUSY | OperandId.R8);
    assertStatus(
        relocate(GPA, td.vcpu()).rax, TdxStatus.TDX_PAGE_METADATA_INCORRECT | OperandId.R8);
    assertStatus(
        relocate(GPA, host.largePage()).rax, TdxStatus.TDX_MISSING_PAMT_PAGE_PAIR | OperandId.R8);
    PamtEntry entry = module.state().pamt().entry(hpa, 0);
    entry.tryLock(LockMode.SHARED);
    assertStatus(relocate(GPA, GIB).rax, TdxStatus.TDX_OPERAND_BUSY | RCX);
    entry.unlock(LockMode.SHARED);
  }

  @Test
  void memWr_thenRd_seesTheWordInAnyMapping() {
    td.augLarge(GPA);
    SeamRegs pending = read(GPA);
    assertStatus(pending.rax, TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT | RCX);
    assertThat(pending.rdx).isEqualTo(0x0201);
    td.run(ScriptedGuest.accept(GPA, 1));
    assertThat(read(GPA + 0x5008).r8).isZero();
    assertThat(write(GPA + 0x5008, 42).r8).isZero();
    assertThat(write(GPA + 0x5008, 43).r8).isEqualTo(42);
    td.blockAndTrack(GPA, 1);
    assertStatus(td.demote(GPA).rax, 0);
    assertThat(read(GPA + 0x5008).r8).isEqualTo(43);
    td.blockAndTrack(GPA, 1);
    assertStatus(td.promote(GPA, 1, 0).rax, 0);
    assertThat(read(GPA + 0x5008).r8).isEqualTo(43);
  }

  @Test
  void accept_clearsWhatWasWrittenBefore() {
    long hpa = td.augSmall(GPA);
    td.run(ScriptedGuest.accept(GPA, 0));
    assertStatus(write(GPA, 5).rax, 0);
    td.blockAndTrack(GPA, 0);
    assertStatus(td.remove(GPA, 0).rax, 0);
    host.mustCall(SeamcallLeaf.TDH_MEM_PAGE_AUG, GPA, td.tdr, hpa);
    td.run(ScriptedGuest.accept(GPA, 0));
    assertThat(read(GPA).r8).isZero();
  }

  @Test
  void memRdAndWr_checkInOrder() {
    TestTd secret = host.runnableTd();
    assertStatus(
        host.call(SeamcallLeaf.TDH_MEM_RD, GPA + 1, secret.tdr).rax, TdxStatus.TDX_TD_NON_DEBUG);
    assertStatus(
        host.call(SeamcallLeaf.TDH_MEM_WR, GPA + 1, secret.tdr).rax, TdxStatus.TDX_TD_NON_DEBUG);
    assertStatus(read(GPA + 4).rax, TdxStatus.TDX_OPERAND_INVALID | RCX);
    assertStatus(write(GPA | 1L << 47, 0).rax, TdxStatus.TDX_OPERAND_INVALID | RCX);
    assertStatus(read(GPA).rax, TdxStatus.TDX_EPT_WALK_FAILED | RCX);
    td.addTables(GPA, 0);
    assertStatus(write(GPA, 1).rax, TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT | RCX);
  }

  private void assertAdd(TestTd into, long rcx, long page, long source, long status) {
    SeamRegs regs = SeamRegs.leaf(SeamcallLeaf.TDH_MEM_PAGE_ADD).rcx(rcx).rdx(into.tdr);
    assertStatus(host.call(regs.r8(page).r9(source)).rax, status);
  }

  private SeamRegs relocate(long rcx, long page) {
    return host.call(SeamcallLeaf.TDH_MEM_PAGE_RELOCATE, rcx, td.tdr, page);
  }

  private SeamRegs read(long gpa) {
    return host.call(SeamcallLeaf.TDH_MEM_RD, gpa, td.tdr);
  }

  private SeamRegs write(long gpa, long value) {
    return host.call(SeamcallLeaf.TDH_MEM_WR, gpa, td.tdr, value);
  }
}
