package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

/** The PAMT from outside: page pairs, RDMD, WBINVD, in dynamic and in static mode. */
final class PamtLeafsTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;

  private final long region = host.largePage();

  @Test
  void add_thenRemove_givesTheSamePagesBack() {
    long page0 = host.pamtPage();
    long page1 = host.pamtPage();
    SeamRegs added = host.mustCall(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, region | 1, page0, page1);
    assertThat(added.rdx).isEqualTo(page0);
    assertThat(module.view().pamtPairs())
        .containsEntry(region, new TdxModuleView.PagePairView(page0, page1, 0));
    SeamRegs removed = host.mustCall(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, region | 1, 0);
    assertThat(removed.rdx).isEqualTo(page0);
    assertThat(removed.r8).isEqualTo(page1);
    assertThat(module.view().pamtPairs()).isEmpty();
  }

  @Test
  void add_checksItsOperandsInOrder() {
    long page0 = host.pamtPage();
    long page1 = host.pamtPage();
    assertAdd(region, page0, page1, TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX);
    assertAdd(region + 4096 | 1, page0, page1, TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX);
    assertAdd(GIB | 1, page0 | 8, page1, TdxStatus.TDX_OPERAND_INVALID | OperandId.RDX);
    assertAdd(GIB | 1, GIB, page1 | 8, TdxStatus.TDX_OPERAND_ADDR_RANGE_ERROR | OperandId.RDX);
    assertAdd(GIB | 1, page0, page1 | 8, TdxStatus.TDX_OPERAND_INVALID | OperandId.R8);
    assertAdd(GIB | 1, page0, GIB, TdxStatus.TDX_OPERAND_ADDR_RANGE_ERROR | OperandId.R8);
    assertAdd(GIB | 1, page0, page1, TdxStatus.TDX_OPERAND_ADDR_RANGE_ERROR | OperandId.RCX);
    assertAdd(region | 1, page0, page0, TdxStatus.TDX_PAGE_NOT_FREE | OperandId.R8);
    host.mustCall(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, region | 1, page0, page1);
    assertAdd(host.largePage() | 1, page1, page0, TdxStatus.TDX_PAGE_NOT_FREE | OperandId.RDX);
  }

  @Test
  void add_ofPairInsideItsOwnRegion_works() {
    host.mustCall(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, region | 1, region, region + 4096);
    TestTd td = host.runnableTd();
    td.addTables(GPA, 0);
    assertStatus(
        host.call(SeamcallLeaf.TDH_MEM_PAGE_AUG, GPA, td.tdr, region).rax,
        TdxStatus.TDX_PAGE_METADATA_INCORRECT | OperandId.R8);
    host.mustCall(SeamcallLeaf.TDH_MEM_PAGE_AUG, GPA, td.tdr, region + 8192);
  }

  @Test
  void augLarge_overPairOrPamtPage_isMetadataIncorrect() {
    TestTd td = host.runnableTd();
    td.addTables(GPA, 1);
    host.mustCall(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, region | 1, host.largePage(), host.pamtPage());
    long wrong = TdxStatus.TDX_PAGE_METADATA_INCORRECT | OperandId.R8;
    assertStatus(augLarge(td, region), wrong);
    assertStatus(augLarge(td, region + TestHost.MIB_2), wrong);
    assertStatus(augLarge(td, region + 4096), TdxStatus.TDX_OPERAND_INVALID | OperandId.R8);
  }

  @Test
  void augSmall_withoutPair_isMissingPair() {
    TestTd td = host.runnableTd();
    td.addTables(GPA, 0);
    assertStatus(
        host.call(SeamcallLeaf.TDH_MEM_PAGE_AUG, GPA, td.tdr, region).rax,
        TdxStatus.TDX_MISSING_PAMT_PAGE_PAIR | OperandId.R8);
  }

  @Test
  void rdmd_showsLargePagePairAndPamtPage() {
    TestTd td = host.runnableTd();
    long hpa = td.augLarge(GPA);
    assertRdmd(hpa + 4096, 3, td.tdr, 1);
    td.block(GPA, 1);
    assertThat(read(hpa).r9).isEqualTo(1);
    assertRdmd(td.tdr, 4, 0, 0);
    SeamRegs node = read(TestHost.MIB_2 | 1);
    TdxModuleView.PagePairView pair = firstPair();
    assertThat(node.rcx).isEqualTo(15 | 1L << 63);
    assertThat(node.r8).isEqualTo(1);
    assertThat(node.r10).isEqualTo(pair.page0());
    assertThat(node.r11).isEqualTo(pair.page1());
    assertRdmd(pair.page0(), 15, 0, 0);
    assertRdmd(region, 0, 0, 1);
  }

  @Test
  void wbinvd_isForFreePagesOnly() {
    TestTd td = host.runnableTd();
    long hpa = td.augLarge(GPA);
    long wrong = TdxStatus.TDX_PAGE_METADATA_INCORRECT | OperandId.RCX;
    assertStatus(writeBack(hpa + 4096), wrong);
    assertStatus(writeBack(firstPair().page1()), wrong);
    assertStatus(writeBack(GIB), TdxStatus.TDX_OPERAND_ADDR_RANGE_ERROR | OperandId.RCX);
    assertStatus(writeBack(1L << 52), TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX);
    td.blockAndTrack(GPA, 1);
    assertThat(td.remove(GPA, 1).rcx).isEqualTo(hpa);
    assertStatus(writeBack(hpa + 4096 | 5L << 45), 0);
  }

  @Test
  void staticMode_hasNoPairs_andDemoteIgnoresThem() {
    TdxModule other = new TdxModule(kernel, TdxModuleConfig.defaults().withDynamicPamt(false), GIB);
    TestHost otherHost = new TestHost(other);
    TestTd td = otherHost.runnableTd();
    long hpa = td.augLarge(GPA);
    long noLeaf = TdxStatus.TDX_OPERAND_INVALID | OperandId.RAX;
    assertStatus(otherHost.call(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, 1, 0, 0).rax, noLeaf);
    assertStatus(otherHost.call(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, 1, 0).rax, noLeaf);
    td.blockAndTrack(GPA, 1);
    assertStatus(otherHost.call(td.demoteRegs(GPA).r12(-1).r13(-1)).rax, 0);
    assertThat(other.view().census()).containsEntry(PageType.REG, 512L);
    td.blockAndTrack(GPA, 0);
    SeamRegs removed = td.remove(GPA, 0);
    assertStatus(removed.rax, 0);
    assertThat(removed.rcx).isEqualTo(hpa);
    td.addTables(GPA + TestHost.MIB_2, 1);
    SeamRegs aug =
        otherHost.call(SeamcallLeaf.TDH_MEM_PAGE_AUG, GPA + TestHost.MIB_2 | 1, td.tdr, hpa);
    assertStatus(aug.rax, TdxStatus.TDX_PAGE_METADATA_INCORRECT | OperandId.R8);
    assertThat(other.view().violations()).isEmpty();
  }

  private void assertAdd(long rcx, long page0, long page1, long status) {
    assertStatus(host.call(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, rcx, page0, page1).rax, status);
  }

  private TdxModuleView.PagePairView firstPair() {
    return module.view().pamtPairs().values().iterator().next();
  }

  private long augLarge(TestTd td, long hpa) {
    return host.call(SeamcallLeaf.TDH_MEM_PAGE_AUG, GPA | 1, td.tdr, hpa).rax;
  }

  private SeamRegs read(long hpa) {
    return host.mustCall(SeamcallLeaf.TDH_PHYMEM_PAGE_RDMD, hpa, 0);
  }

  private void assertRdmd(long hpa, long type, long owner, long size) {
    SeamRegs regs = read(hpa);
    assertThat(String.format("%d %x %d", regs.rcx, regs.rdx, regs.r8))
        .isEqualTo(String.format("%d %x %d", type, owner, size));
  }

  private long writeBack(long hpa) {
    return host.call(SeamcallLeaf.TDH_PHYMEM_PAGE_WBINVD, hpa, 0).rax;
  }
}
