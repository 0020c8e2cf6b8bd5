package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

/** The module's door: leaf numbers and versions, injected failures, counts, features, scale. */
final class TdxModuleTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;
  private static final long BUSY = TdxStatus.TDX_OPERAND_BUSY | OperandId.SEPT_TREE;

  @Test
  void unknownLeafVersionOrReservedBits_areOperandInvalid() {
    TestTd td = host.runnableTd();
    for (long rax :
        new long[] {11, 13, 26, 65, 200, 38 | 1L << 16, 3 | 2L << 16, 38 | 1L << 24, -1}) {
      SeamRegs regs = new SeamRegs().rcx(td.tdr);
      regs.rax = rax;
      assertStatus(host.call(regs).rax, TdxStatus.TDX_OPERAND_INVALID);
    }
    assertThat(module.view().epoch(td.tdr)).isEqualTo(1);
  }

  @Test
  void injectedFailure_hitsTheNthCallAndChangesNothing() {
    TestTd td = host.runnableTd();
    td.augLarge(GPA);
    module.injector().failNext(SeamcallLeaf.TDH_MEM_TRACK, 2, BUSY);
    assertStatus(td.track(), 0);
    assertStatus(td.track(), BUSY);
    assertStatus(td.track(), 0);
    assertThat(module.view().epoch(td.tdr)).isEqualTo(3);
    assertThat(module.injector().injected()).isEqualTo(1);
    assertThat(module.callsOf(SeamcallLeaf.TDH_MEM_TRACK)).isEqualTo(3);
  }

  @Test
  void injectedFailures_lastUntilCleared() {
    TestTd td = host.runnableTd();
    module.injector().failAlways(SeamcallLeaf.TDH_MEM_TRACK, BUSY);
    module.injector().failNext(SeamcallLeaf.TDH_MEM_RANGE_BLOCK, 1, BUSY);
    assertStatus(td.track(), BUSY);
    assertStatus(td.track(), BUSY);
    assertStatus(td.block(GPA, 1), BUSY);
    module.injector().clear();
    assertStatus(td.track(), 0);
    assertThat(module.injector().injected()).isEqualTo(3);
    assertThat(module.calls()).containsEntry(SeamcallLeaf.TDH_MEM_RANGE_BLOCK, 1L);
  }

  @Test
  void features_followTheConfiguration() {
    TdxModuleConfig config = TdxModuleConfig.defaults().withRelease(ModuleVersion.V1_5_34);
    assertThat(config.features0() >>> 36 & 1).isEqualTo(1);
    assertThat(config.features0() >>> 51 & 1).isEqualTo(1);
    assertThat(config.features0() >>> 35 & 1).isZero();
    TdxModuleConfig other =
        config
            .withDynamicPamt(false)
            .withEnhancedDemoteInterruptibility(false)
            .withNonBlockingResize(true);
    assertThat(other.features0() >>> 35).isEqualTo(1);
    assertThat(other.version()).isEqualTo("1.5.34");
    assertThat(module.config()).isEqualTo(TdxModuleConfig.defaults());
  }

  @Test
  void statuses_areDescribedInWords() {
    assertThat(TdxStatus.describe(0x8000020000000001L))
        .isEqualTo("TDX_OPERAND_BUSY | RCX (0x8000020000000001)");
    assertThat(TdxStatus.describe(0)).isEqualTo("TDX_SUCCESS (0x0000000000000000)");
    assertThat(TdxStatus.describe(0xC000FF0000000000L)).startsWith("0xc000ff0000000000 (");
    assertThat(TdxStatus.isBusy(BUSY)).isTrue();
    assertThat(TdxStatus.isError(TdxStatus.TDX_GPA_RANGE_ALREADY_BLOCKED)).isFalse();
    assertThat(TdxStatus.isSuccess(TdxStatus.TDX_GPA_RANGE_ALREADY_BLOCKED)).isFalse();
    assertThat(SeamcallLeaf.of(7).orElseThrow().kernelName()).isEqualTo("TDH_MEM_RANGE_BLOCK");
    assertThat(SeamcallLeaf.of(-1)).isEmpty();
  }

  @Test
  void twoTds_areApart() {
    TestTd one = host.runnableTd();
    TestTd two = host.runnableTd();
    long hpa = one.augLarge(GPA);
    two.addTables(GPA, 1);
    assertStatus(
        host.call(SeamcallLeaf.TDH_MEM_PAGE_AUG, GPA | 1, two.tdr, hpa).rax,
        TdxStatus.TDX_PAGE_METADATA_INCORRECT | OperandId.R8);
    two.augLarge(GPA + TestHost.MIB_2);
    one.track();
    one.tearDown(page -> module.view().ownerOf(page) == one.tdr);
    assertThat(module.view().leafs(two.tdr)).hasSize(1);
    assertThat(module.view().epoch(two.tdr)).isEqualTo(1);
  }

  @Test
  void leafAt_isTheLeafThatAWalkEndsAt_orNone() {
    TestTd td = host.runnableTd();
    td.augLarge(GPA);
    long small = GPA + TestHost.MIB_2;
    td.augSmall(small);
    assertThat(module.view().leafs(td.tdr))
        .containsExactly(
            module.view().leafAt(td.tdr, GPA + 5 * TestHost.PAGE),
            module.view().leafAt(td.tdr, small));
    assertThat(module.view().leafAt(td.tdr, small + TestHost.PAGE)).isNull();
    assertThat(module.view().leafAt(td.tdr, 0)).isNull();
    td.block(GPA, 1);
    assertThat(module.view().leafAt(td.tdr, GPA))
        .extracting(TdxModuleView.SeptLeaf::state)
        .isEqualTo(SeptState.PENDING_BLOCKED);
  }
}
