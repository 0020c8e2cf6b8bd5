package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockMode;
import org.junit.jupiter.api.Test;

/** Each alarm of the checker goes off when its invariant is broken, and with its own words. */
final class ModuleInvariantsTest {

  private static final long GPA = 0x4000_0000L;

  private final TdxModule module =
      new TdxModule(Kernel.host(), TdxModuleConfig.defaults(), ModuleTestCase.GIB);
  private final TestHost host = new TestHost(module);
  private final TestTd td = host.runnableTd();
  private final long hpa = td.augLarge(GPA);
  private final Td inside = module.state().td(td.tdr);
  private final Pamt pamt = module.state().pamt();

  @Test
  void soundModule_hasNoViolations() {
    assertThat(module.view().violations()).isEmpty();
  }

  @Test
  void i1_assignedPageWithBitmapBit() {
    pamt.bitmap(td.tdr).trySet(td.tdr);
    assertAlarm("I1: the page at %x is in use and a PAMT page".formatted(td.tdr));
  }

  @Test
  void i2_entryInUseBelowLargePage() {
    pamt.entry(0, 2).assign(PageType.REG, td.tdr);
    assertAlarm("I2: below the 1G page at 0 a 2M entry is in use");
  }

  @Test
  void i2_pairWithoutNode() {
    pamt.entry(td.tdr, 1).free();
    assertAlarm("I2: 4K entries and page pair of the region at 200000 do not agree");
  }

  @Test
  void i2_staticEntryInUseBelowLargePage() {
    TdxModule other =
        new TdxModule(
            Kernel.host(), TdxModuleConfig.defaults().withDynamicPamt(false), ModuleTestCase.GIB);
    Pamt table = other.state().pamt();
    table.entry(0, 1).assign(PageType.REG, 0x1000);
    table.entry(0x3000, 0).assign(PageType.REG, 0x1000);
    assertThat(other.view().violations())
        .contains("I2: below the 2M page at 0 a 4K entry is in use");
  }

  @Test
  void i3_ownerThatIsNoTdr() {
    pamt.entry(hpa, 1).assign(PageType.REG, td.vcpu());
    assertAlarm("I3: the owner of the REG page at %x is no TDR".formatted(hpa));
  }

  @Test
  void i4_leafOfFreePage() {
    pamt.entry(hpa, 1).free();
    assertAlarm(
        "I4: a level 1 PENDING leaf maps what is no private page of its size and TD"
            + " (GPA 40000000)");
  }

  @Test
  void i4_pageMappedTwice() {
    SeptSlot next = inside.sept().walk(GPA + TestHost.MIB_2, 1);
    next.writeUnlocked(SeptEntry.of(SeptState.MAPPED, hpa));
    assertAlarm("I4: a level 1 MAPPED leaf maps a page that is mapped elsewhere (GPA 40200000)");
  }

  @Test
  void i4_privatePageNotMapped() {
    slot().writeUnlocked(SeptEntry.FREE);
    assertAlarm("I4: TD %x has 512 private pages, its S-EPT maps 0".formatted(td.tdr));
  }

  @Test
  void i5_tableThatIsNoSeptPage() {
    long table = inside.sept().walk(GPA, 2).hpa();
    pamt.entry(table, 0).assign(PageType.TDCX, td.tdr);
    assertAlarm(
        "I5: a level 2 NL_MAPPED entry points to what is no S-EPT page of its TD (GPA 40000000)");
  }

  @Test
  void i5_tableSharedByTwoEntries() {
    SeptSlot next = inside.sept().walk(GPA + ModuleTestCase.GIB, 2);
    next.writeUnlocked(inside.sept().walk(GPA, 2).entry());
    assertAlarm(
        "I5: a level 2 NL_MAPPED entry points to a table that another entry points to"
            + " (GPA 80000000)");
  }

  @Test
  void i5_tableOutsideTheTree() {
    long table = inside.sept().walk(GPA, 2).hpa();
    inside.sept().walk(GPA, 2).writeUnlocked(SeptEntry.FREE);
    assertThat(pamt.entry(table, 0).type()).isEqualTo(PageType.EPT);
    assertAlarm("I5: TD %x has 2 S-EPT pages, its tree has 1 tables".formatted(td.tdr));
  }

  @Test
  void i5_rootThatIsNotTdcxPage3() {
    inside.tdcx.set(Td.ROOT_PAGE, 0L);
    assertAlarm("I5: the S-EPT root of TD %x is not its TDCX page 3".formatted(td.tdr));
  }

  @Test
  void i7_unalignedLargePage() {
    // An address below 2 MiB would be an accept counter: only a 1G leaf can be unaligned.
    inside.sept().walk(GPA, 2).writeUnlocked(SeptEntry.of(SeptState.MAPPED, hpa));
    assertAlarm("I7: a level 2 MAPPED leaf maps an unaligned page (GPA 40000000)");
  }

  @Test
  void i8_wrongChildCount() {
    inside.childCount().addAndGet(1);
    assertThat(module.view().violations())
        .singleElement()
        .asString()
        .startsWith("I8: TD %x owns".formatted(td.tdr));
  }

  @Test
  void i9_wrongPageCount() {
    pamt.entry(td.tdr, 1).addPages(1);
    assertThat(module.view().violations())
        .singleElement()
        .asString()
        .startsWith("I9: ")
        .contains("region at 200000");
  }

  @Test
  void i10_pairPageWithoutBit() {
    long page = pamt.entry(td.tdr, 1).pairPage(0);
    pamt.bitmap(page).clear(page);
    assertAlarm("I10: the PAMT page at %x has no bit in the bitmap".formatted(page));
  }

  @Test
  void i10_bitWithoutPair() {
    pamt.bitmap(0).trySet(0);
    assertAlarm("I10: the bitmap has 3 PAMT pages, the page pairs have 2");
  }

  @Test
  void i10_pairOfOnePageTwice() {
    PamtEntry node = pamt.entry(td.tdr, 1);
    node.attachPair(node.pairPage(0), node.pairPage(0), node.pageCount());
    assertAlarm("I10: the PAMT page at %x serves twice".formatted(node.pairPage(0)));
  }

  @Test
  void i11_pamtPageInsideLargePage() {
    pamt.bitmap(hpa).trySet(hpa);
    assertAlarm("I11: the 2M page at %x has PAMT pages inside".formatted(hpa));
  }

  @Test
  void i12_tableBelowLeaf() {
    module.state().septPages().fillFree(hpa);
    assertAlarm("I12: there is a table below a level 1 PENDING leaf (GPA 40000000)");
  }

  @Test
  void i12_entryWithoutTable() {
    module.state().septPages().forget(inside.sept().walk(GPA, 2).hpa());
    assertAlarm("I12: a level 2 NL_MAPPED entry points to no table (GPA 40000000)");
  }

  @Test
  void i13_permissionsOfPendingEntry() {
    slot().writeUnlocked(slot().entry() | 7);
    assertAlarm(
        "I13: the permissions or other bits of a level 1 PENDING entry do not fit its state"
            + " (GPA 40000000)");
  }

  @Test
  void i14_acceptCounterInMappedEntry() {
    slot().writeUnlocked(SeptEntry.withAcceptCounter(SeptEntry.of(SeptState.MAPPED, hpa), 3));
    assertAlarm("I14: an accept counter in a level 1 MAPPED entry (GPA 40000000)");
  }

  @Test
  void i15_lockedEntry() {
    slot().tryLockByHost();
    assertAlarm("I15: the level 1 PENDING entry is locked between calls (GPA 40000000)");
  }

  @Test
  void i15_lockedTree() {
    inside.treeLock().tryLock(LockMode.SHARED);
    assertAlarm("I15: a lock of TD %x is held between calls".formatted(td.tdr));
  }

  @Test
  void i15_lockedPamtEntry() {
    pamt.entry(hpa, 1).tryLock(LockMode.EXCLUSIVE);
    assertAlarm("I15: the level 1 PAMT entry at %x is locked between calls".formatted(hpa));
  }

  @Test
  void i15_lockedAncestorOrFreePage() {
    pamt.entry(0, 2).tryLock(LockMode.SHARED);
    long free = host.controlPage();
    pamt.entry(free, 0).tryLock(LockMode.EXCLUSIVE);
    assertThat(module.view().violations())
        .containsExactly(
            "I15: the level 2 PAMT entry at 0 is locked between calls",
            "I15: the level 0 PAMT entry at %x is locked between calls".formatted(free));
  }

  @Test
  void i6_entryThatNamesAFreePage() {
    pamt.entry(inside.sept().walk(GPA, 2).hpa(), 0).free();
    assertAlarm(
        "I6: a level 2 NL_MAPPED entry names a page that nobody owns at its size (GPA 40000000)");
  }

  @Test
  void i16_splitPagesThatChangedPlaces() {
    demote();
    SeptSlot first = inside.sept().walk(GPA, 0);
    SeptSlot second = inside.sept().walk(GPA + 4096, 0);
    long entry = first.entry();
    first.writeUnlocked(second.entry());
    second.writeUnlocked(entry);
    assertOnlyAlarm(
        "I16: resizing changed which pages the S-EPT of TD %x maps where".formatted(td.tdr));
  }

  @Test
  void i18_vcpuInsideThatEnteredBeforeTheBlocking() {
    StickyProcessor processor = new StickyProcessor(Kernel.host());
    KernelThread vcpu = td.enterAndStay(Kernel.host(), processor);
    inside.epochs().retire(1);
    assertOnlyAlarm(
        "I18: a vCPU of TD %x entered in epoch 1, and a mapping of epoch 1 is gone"
            .formatted(td.tdr));
    processor.interrupt();
    vcpu.join();
    assertThat(module.view().violations()).isEmpty();
  }

  @Test
  void i19_epochThatWentBack() {
    assertThat(td.track()).isZero();
    inside.epochs().start();
    assertOnlyAlarm("I19: TD_EPOCH of TD %x is 1 after 1 times MEM.TRACK".formatted(td.tdr));
  }

  @Test
  void i19_pageBlockedInTheFuture() {
    assertThat(td.block(GPA, 1)).isZero();
    pamt.entry(hpa, 1).setBlockingEpoch(2);
    assertOnlyAlarm(
        "I19: a level 1 PENDING_BLOCKED entry was blocked in an epoch to come (GPA 40000000)");
  }

  @Test
  void i20_pagesWithoutKeys() {
    inside.lifecycle = Lifecycle.HKID_ASSIGNED;
    assertOnlyAlarm("I20: TD %x has pages, but no keys".formatted(td.tdr));
  }

  @Test
  void i20_reclaimBeforeTeardown() {
    inside.reclaimed.set(1);
    assertOnlyAlarm("I20: pages of TD %x were reclaimed before its teardown".formatted(td.tdr));
  }

  @Test
  void i20_measurementAfterFinalize() {
    inside.measurement.pageAdded(GPA);
    assertOnlyAlarm("I20: pages were added to TD %x after MR.FINALIZE".formatted(td.tdr));
  }

  @Test
  void i20_hkidThatIsNotAsFarAsItsTd() {
    module.state().keys().flushed(1);
    assertOnlyAlarm(
        "I20: HKID 1 is not as far as TD %x, which is KEYS_CONFIGURED".formatted(td.tdr));
    inside.lifecycle = Lifecycle.BLOCKED;
    assertThat(module.view().violations()).isEmpty();
  }

  @Test
  void i21_mappedPageThatNobodyCleared() {
    td.run(ScriptedGuest.accept(GPA, 1));
    pamt.contents(hpa).clear(hpa + 4096);
    assertOnlyAlarm(
        "I21: a level 1 MAPPED entry shows the guest a page that nobody cleared (GPA 40000000)");
    demote();
    assertOnlyAlarm(
        "I21: a level 0 MAPPED entry shows the guest a page that nobody cleared (GPA 40001000)");
  }

  @Test
  void i21_pendingPageThatCanBeRead() {
    slot().writeUnlocked(slot().entry() | 1);
    assertAlarm(
        "I21: a level 1 PENDING entry lets the guest read what it has not accepted (GPA 40000000)");
  }

  @Test
  void i22_failedCallThatChangedSomething() {
    SeamcallAudit audit =
        new SeamcallAudit(
            module.state(),
            (regs, processor) -> {
              module.seamcall(regs, processor);
              regs.rax = TdxStatus.TDX_TD_FATAL;
            });
    SeamRegs block = SeamRegs.leaf(SeamcallLeaf.TDH_MEM_RANGE_BLOCK).rcx(GPA | 1).rdx(td.tdr);
    audit.seamcall(block, LogicalProcessor.NONE);
    assertThat(audit.violations())
        .containsExactly(
            "I22: TDH_MEM_RANGE_BLOCK ended with TDX_TD_FATAL (0xe000060400000000)"
                + " and changed the PAMT, the S-EPT of TD %x".formatted(td.tdr));
  }

  @Test
  void i22_coversEveryAreaOfTheModule() {
    ModuleSnapshot before = ModuleSnapshot.of(module.state());
    module.state().keys().flushed(9);
    module.state().contents().write(hpa, 1);
    inside.measurement.pageAdded(0);
    module.state().vcpu(td.vcpu()).pages++;
    module.state().bringUp().enter(SysState.SHUT_DOWN);
    assertThat(before.differences(ModuleSnapshot.of(module.state())))
        .containsExactlyInAnyOrder(
            "the HKIDs",
            "page contents",
            "TD %x".formatted(td.tdr),
            "vCPU %x".formatted(td.vcpu()),
            "the module's state");
  }

  @Test
  void moduleWithoutMemory_hasNoViolations() {
    TdxModule loaded =
        TdxModule.loaded(
            Kernel.host(), TdxModuleConfig.defaults(), Platform.of(1, ModuleTestCase.GIB));
    assertThat(loaded.view().violations()).isEmpty();
  }

  private void demote() {
    td.blockAndTrack(GPA, 1);
    assertThat(td.demote(GPA).rax).isZero();
  }

  private void assertOnlyAlarm(String sentence) {
    assertThat(module.view().violations()).containsExactly(sentence);
  }

  @Test
  void i17_wrongRefcount() {
    inside.epochs().enter();
    assertAlarm("I17: 0 vCPUs are inside TD %x, its REFCOUNTs say 1".formatted(td.tdr));
  }

  private SeptSlot slot() {
    return inside.sept().walk(GPA, 1);
  }

  private void assertAlarm(String sentence) {
    assertThat(module.view().violations()).contains(sentence);
  }
}
