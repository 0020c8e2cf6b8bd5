package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Where the versions of the module differ, each difference in each version. */
final class VersionsTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;

  private TdxModule versioned = module;
  private TestHost versionedHost = host;
  private TestTd td = new TestTd(module, host, 0);

  private void load(ModuleVersion version) {
    versioned = new TdxModule(kernel, TdxModuleConfig.defaults().withRelease(version), GIB);
    versionedHost = new TestHost(versioned).audited();
    td = versionedHost.runnableTd();
    td.augLarge(GPA);
  }

  @ParameterizedTest
  @EnumSource
  void features_sayWhetherDemoteRunsThrough(ModuleVersion version) {
    load(version);
    long features = versionedHost.mustCall(sysRd(SysFields.TDX_FEATURES0)).r8;
    boolean enhanced = version.compareTo(ModuleVersion.V1_5_28) >= 0;
    assertThat(features >>> 51 & 1).isEqualTo(enhanced ? 1 : 0);
    assertThat(features >>> 36 & 1).isEqualTo(1);
    long update = versionedHost.mustCall(sysRd(SysFields.UPDATE_VERSION)).r8;
    assertThat("1.5." + update).isEqualTo(version.label()).isEqualTo(versioned.config().version());
  }

  @ParameterizedTest
  @EnumSource
  void demote_withEventPending_isRestartableBefore1528(ModuleVersion version) {
    load(version);
    td.blockAndTrack(GPA, 1);
    SeamRegs regs = versionedHost.call(td.demoteRegs(GPA), new ScriptedGuest());
    boolean runsThrough = version.compareTo(ModuleVersion.V1_5_28) >= 0;
    assertStatus(regs.rax, runsThrough ? 0 : TdxStatus.TDX_INTERRUPTED_RESTARTABLE);
    assertThat(regs.rcx).isEqualTo(runsThrough ? 0 : GPA | 1);
    assertSound();
  }

  @ParameterizedTest
  @EnumSource
  void demote_whileAHostWaitsForTheTree_isInterruptedBusyBefore1528(ModuleVersion version) {
    load(version);
    td.blockAndTrack(GPA, 1);
    versionedHost.shareModule();
    SeamRegs regs = versionedHost.call(td.demoteRegs(GPA), new BlockingBystander());
    boolean runsThrough = version.compareTo(ModuleVersion.V1_5_28) >= 0;
    assertStatus(regs.rax, runsThrough ? 0 : TdxStatus.TDX_INTERRUPTED_BUSY);
    assertThat(regs.rdx).isEqualTo(runsThrough ? 0 : td.tdr);
    assertSound();
  }

  @ParameterizedTest
  @EnumSource
  void promote_withEventPending_isRestartableAlways(ModuleVersion version) {
    load(version);
    td.blockAndTrack(GPA, 1);
    assertStatus(td.demote(GPA).rax, 0);
    td.blockAndTrack(GPA, 1);
    SeamRegs regs = versionedHost.call(td.promoteRegs(GPA, 1, 0), new ScriptedGuest());
    assertStatus(regs.rax, TdxStatus.TDX_INTERRUPTED_RESTARTABLE);
    assertSound();
  }

  @ParameterizedTest
  @EnumSource
  void accept_thatAPromoteOvertook_looksAtTheOldEntryBefore1528(ModuleVersion version) {
    load(version);
    SeptSlot slot = versioned.state().td(td.tdr).sept().walk(GPA, 1);
    long table = SeptEntry.of(SeptState.NL_MAPPED, 0x1000);
    boolean looksAgain = version.compareTo(ModuleVersion.V1_5_28) >= 0;
    assertThat(acceptAfterWalkingTo(slot, table).rax())
        .isEqualTo(looksAgain ? 0 : TdxStatus.TDX_PAGE_SIZE_MISMATCH | 1);
    assertSound();
  }

  @ParameterizedTest
  @EnumSource
  void accept_thatADemoteOvertook_exitsBefore1528(ModuleVersion version) {
    load(version);
    SeptSlot slot = versioned.state().td(td.tdr).sept().walk(GPA, 1);
    long large = slot.entry();
    td.blockAndTrack(GPA, 1);
    assertStatus(td.demote(GPA).rax, 0);
    TdcallResult result = acceptAfterWalkingTo(slot, large);
    if (version.compareTo(ModuleVersion.V1_5_28) >= 0) {
      assertStatus(result.rax(), TdxStatus.TDX_PAGE_SIZE_MISMATCH | 1);
    } else {
      assertThat(result).isEqualTo(TdcallResult.EXITED);
    }
  }

  @ParameterizedTest
  @EnumSource
  void septRemove_ofTableWithRemovedEntries_worksSince1534(ModuleVersion version) {
    load(version);
    td.addTables(GPA + TestHost.MIB_2, 0);
    versioned
        .state()
        .td(td.tdr)
        .sept()
        .walk(GPA + TestHost.MIB_2, 0)
        .writeUnlocked(SeptEntry.of(SeptState.REMOVED, 0));
    td.blockAndTrack(GPA + TestHost.MIB_2, 1);
    SeamRegs regs =
        versionedHost.call(SeamcallLeaf.TDH_MEM_SEPT_REMOVE, GPA + TestHost.MIB_2 | 1, td.tdr);
    assertStatus(
        regs.rax,
        version == ModuleVersion.V1_5_34 ? 0 : TdxStatus.TDX_EPT_PAGE_NOT_FREE | OperandId.RCX);
    assertSound();
  }

  private TdcallResult acceptAfterWalkingTo(SeptSlot slot, long walked) {
    SeamRegs regs = SeamRegs.leaf(SeamcallLeaf.TDH_VP_ENTER);
    try (Seamcall enter =
        new Seamcall(versioned.state(), regs, LogicalProcessor.NONE, Injected.NONE)) {
      return new AcceptPage(enter, versioned.state().td(td.tdr), new TdExit(regs))
          .acceptAt(new GuestInstruction.Accept(GPA, 1), slot, walked);
    }
  }

  /** A processor that, when it is asked for interrupts, has another host want the S-EPT tree. */
  private final class BlockingBystander implements LogicalProcessor {

    @Override
    public boolean isInterruptPending() {
      assertStatus(td.block(GPA, 2), TdxStatus.TDX_OPERAND_BUSY | OperandId.SEPT_TREE);
      return false;
    }

    @Override
    public boolean isSharedMapped(long gpaWithoutSharedBit, AccessKind kind) {
      return false;
    }
  }

  private static SeamRegs sysRd(long field) {
    return SeamRegs.leaf(SeamcallLeaf.TDH_SYS_RD).rdx(field);
  }

  private void assertSound() {
    assertThat(versionedHost.violations()).isEmpty();
  }
}
