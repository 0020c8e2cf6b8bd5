package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import java.util.List;
import java.util.stream.LongStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The numbered examples of the module's specification, register by register. */
final class WorkedExamplesTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;

  private TestTd td = new TestTd(module, host, 0);
  private long hpa;
  private long childrenBefore;

  @BeforeEach
  void augLarge() {
    td = host.runnableTd();
    while (epoch() < 5) {
      assertStatus(td.track(), 0);
    }
    td.addTables(GPA, 1);
    childrenBefore = module.view().childCount(td.tdr);
    hpa = host.largePage();
    assertRegs(host.call(SeamcallLeaf.TDH_MEM_PAGE_AUG, GPA | 1, td.tdr, hpa), 0, 0, 0);
  }

  @Test
  void example1_augTwice_showsThePendingEntry() {
    assertThat(module.view().childCount(td.tdr)).isEqualTo(childrenBefore + 512);
    SeamRegs again = host.call(SeamcallLeaf.TDH_MEM_PAGE_AUG, GPA | 1, td.tdr, host.largePage());
    assertRegs(again, 0xC0000B0D00000001L, 0x80000000000000F0L | hpa, 0x0201);
  }

  @Test
  void example2_augSmallBelowLarge_isWalkFailed() {
    SeamRegs small = host.call(SeamcallLeaf.TDH_MEM_PAGE_AUG, GPA, td.tdr, host.controlPage());
    assertRegs(small, 0xC0000B0000000001L, 0x80000000000000F0L | hpa, 0x0201);
  }

  @Test
  void example3_demoteWithoutBlock_isRangeNotBlocked() {
    assertRegs(td.demote(GPA), 0xC0000B0600000001L, 0x80000000000000F0L | hpa, 0x0201);
  }

  @Test
  void example4_blockTwice_isInformational() {
    assertRegs(host.call(SeamcallLeaf.TDH_MEM_RANGE_BLOCK, GPA | 1, td.tdr), 0, 0, 0);
    assertThat(module.state().pamt().entry(hpa, 1).blockingEpoch()).isEqualTo(5);
    SeamRegs again = host.call(SeamcallLeaf.TDH_MEM_RANGE_BLOCK, GPA | 1, td.tdr);
    assertRegs(again, 0x00000B0700000001L, 0x80000000000000F0L | hpa, 0x0301);
  }

  @Test
  void example5_demoteBeforeTrack_isTrackingNotDone() {
    assertStatus(td.block(GPA, 1), 0);
    assertRegs(td.demote(GPA), 0xC0000B0800000001L, 0, 0);
  }

  @Test
  void example6_trackWithVcpuOfOldEpochInside_isNotEnough() {
    StickyProcessor processor = new StickyProcessor(kernel);
    KernelThread vcpu = td.enterAndStay(kernel, processor);
    assertStatus(td.block(GPA, 1), 0);
    assertStatus(td.track(), 0);
    assertThat(epoch()).isEqualTo(6);
    assertRegs(td.demote(GPA), 0xC0000B0800000001L, 0, 0);
    assertStatus(td.track(), 0x8000020100000000L);
    assertThat(module.view().running(td.tdr)).isEqualTo(1);
    processor.interrupt();
    vcpu.join();
    assertRegs(td.demote(GPA), 0, 0, 0);
  }

  @Test
  void example7_demote_mapsTheSameMemoryWithSmallPages() {
    long before = module.view().childCount(td.tdr);
    demote();
    assertRegs(td.read(GPA, 1), 0, 0x407, 0x8401);
    assertRegs(td.read(GPA + 0x5000, 0), 0, 0x80000000000000F0L | hpa + 0x5000, 0x0200);
    assertThat(module.view().childCount(td.tdr)).isEqualTo(before + 1);
    assertThat(module.view().leafs(td.tdr)).isEqualTo(smallLeafs(SeptState.PENDING));
  }

  @Test
  void example8_demoteAgain_isStateIncorrect() {
    demote();
    assertRegs(td.demote(GPA), 0xC0000B0D00000001L, 0x407, 0x8401);
  }

  @Test
  void example9_acceptLargeOverTables_isSizeMismatch() {
    demote();
    ScriptedGuest guest = td.run(ScriptedGuest.accept(GPA, 1));
    assertThat(guest.outcomes).containsExactly(new GuestOutcome.Status(0xC0000B0B00000001L));
    ScriptedGuest small =
        td.run(
            LongStream.range(0, 512)
                .mapToObj(i -> ScriptedGuest.accept(GPA + i * 4096, 0))
                .toArray(GuestInstruction[]::new));
    assertThat(small.outcomes).hasSize(512).containsOnly(new GuestOutcome.Status(0));
    assertThat(module.view().leafs(td.tdr)).isEqualTo(smallLeafs(SeptState.MAPPED));
  }

  @Test
  void example9_acceptSmallInLarge_exitsWithAcceptInfo() {
    SeamRegs exit = td.run(ScriptedGuest.accept(GPA, 0)).exit;
    assertRegs(exit, 48, 2, 0x0000408800000001L);
    assertThat(exit.r8).isEqualTo(GPA);
    assertThat(exit.r9).isZero();
  }

  @Test
  void example10_promote_givesTableAndPairBack() {
    td.blockAndTrack(GPA, 1);
    SeamRegs demoted = td.demote(GPA);
    long before = module.view().childCount(td.tdr);
    assertStatus(td.block(GPA, 1), 0);
    assertRegs(td.read(GPA, 1), 0, 0, 0x8101);
    assertThat(module.state().pamt().entry(demoted.r8, 0).blockingEpoch()).isEqualTo(epoch());
    assertStatus(td.track(), 0);
    SeamRegs promoted = td.promote(GPA, 1, 0);
    assertRegs(promoted, 0, demoted.r8, 0);
    assertThat(promoted.r12).isEqualTo(demoted.r12);
    assertThat(promoted.r13).isEqualTo(demoted.r13);
    assertThat(module.view().childCount(td.tdr)).isEqualTo(before - 1);
    assertRegs(td.read(GPA, 1), 0, 0x80000000000000F0L | hpa, 0x0201);
  }

  @Test
  void example11_pairsThatExistOrAreInUse_areRefused() {
    long region = host.largePage();
    host.addPair(region);
    SeamRegs twice =
        host.call(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, region | 1, host.pamtPage(), host.pamtPage());
    assertStatus(twice.rax, 0xC000030400000001L);
    td.addTables(GPA + TestHost.MIB_2, 0);
    host.mustCall(SeamcallLeaf.TDH_MEM_PAGE_AUG, GPA + TestHost.MIB_2, td.tdr, region + 300 * 4096);
    assertStatus(removePair(region), 0xC000030600000001L);
    host.mustCall(
        SeamcallLeaf.TDH_MEM_PAGE_AUG, GPA + TestHost.MIB_2 + 4096, td.tdr, region + 255 * 4096);
    assertStatus(removePair(region), 0xC000030600000000L);
    assertStatus(removePair(host.largePage()), 0xC000030500000001L);
  }

  @Test
  void example12_removeSmall_returnsPageAndHint() {
    long region = host.largePage();
    long gpa = GPA + TestHost.MIB_2;
    host.addPair(region);
    td.addTables(gpa, 0);
    host.mustCall(SeamcallLeaf.TDH_MEM_PAGE_AUG, gpa, td.tdr, region);
    host.mustCall(SeamcallLeaf.TDH_MEM_PAGE_AUG, gpa + 4096, td.tdr, region + 4096);
    assertThat(module.view().pamtPairs())
        .hasEntrySatisfying(region, pair -> assertThat(pair.pageCount()).isEqualTo(2));
    long keyed = region | 1L << module.config().hkidShift();
    assertStatus(writeBack(keyed), 0xC000030000000001L);
    td.blockAndTrack(gpa, 0);
    assertRegs(td.remove(gpa, 0), 0, region, 0);
    assertStatus(writeBack(keyed), 0);
    td.blockAndTrack(gpa + 4096, 0);
    assertRegs(td.remove(gpa + 4096, 0), 0, region + 4096 | 1L << 62, 0);
  }

  private void demote() {
    td.blockAndTrack(GPA, 1);
    assertRegs(td.demote(GPA), 0, 0, 0);
  }

  private List<TdxModuleView.SeptLeaf> smallLeafs(SeptState state) {
    return LongStream.range(0, 512)
        .mapToObj(i -> new TdxModuleView.SeptLeaf(GPA + i * 4096, 0, state, hpa + i * 4096, false))
        .toList();
  }

  private long epoch() {
    return module.view().epoch(td.tdr);
  }

  private long removePair(long region) {
    return host.call(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, region | 1, 0).rax;
  }

  private long writeBack(long keyedHpa) {
    return host.call(SeamcallLeaf.TDH_PHYMEM_PAGE_WBINVD, keyedHpa, 0).rax;
  }

  private static void assertRegs(SeamRegs regs, long rax, long rcx, long rdx) {
    assertThat(String.format("rax=%016x rcx=%x rdx=%x", regs.rax, regs.rcx, regs.rdx))
        .isEqualTo(String.format("rax=%016x rcx=%x rdx=%x", rax, rcx, rdx));
  }
}
