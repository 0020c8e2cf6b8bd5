package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What can be made to happen to a SEAMCALL: by leaf, by number, by operand, at each lock. */
final class InjectionTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;
  private static final long OTHER = GPA + (2L << 20);
  private static final SeamcallLeaf BLOCK = SeamcallLeaf.TDH_MEM_RANGE_BLOCK;

  private final TestTd td = host.runnableTd();
  private final SeamcallInjector injector = module.injector();

  @Test
  void fail_byOperand_countsOnlyCallsThatAreMeant() {
    td.augLarge(GPA);
    td.augLarge(OTHER);
    injector.on(BLOCK).where(regs -> regs.rcx == (OTHER | 1)).next(2).fail(TdxStatus.TDX_TD_FATAL);
    assertStatus(td.block(OTHER, 1), 0);
    assertStatus(td.block(GPA, 1), 0);
    assertStatus(td.block(OTHER, 1), TdxStatus.TDX_TD_FATAL);
    assertStatus(td.block(OTHER, 1), TdxStatus.TDX_GPA_RANGE_ALREADY_BLOCKED | OperandId.RCX);
    assertThat(injector.injected()).isEqualTo(1);
  }

  @Test
  void fail_byCallNumber_countsFromTheStart() {
    assertStatus(td.track(), 0);
    injector.on(SeamcallLeaf.TDH_MEM_TRACK).number(3).fail(TdxStatus.TDX_SYS_BUSY);
    assertStatus(td.track(), 0);
    assertStatus(td.track(), TdxStatus.TDX_SYS_BUSY);
    assertStatus(td.track(), 0);
    assertThat(module.callsOf(SeamcallLeaf.TDH_MEM_TRACK)).isEqualTo(4);
  }

  @Test
  void severalArrangements_forOneCall_allHappen_andTheFirstStatusWins() {
    List<String> log = new ArrayList<>();
    injector.on(BLOCK).meanwhile(() -> log.add("first"));
    injector.on(BLOCK).meanwhile(() -> log.add("second"));
    td.augLarge(GPA);
    assertStatus(td.block(GPA, 1), 0);
    assertThat(log).containsExactly("first", "second");
    injector.failNext(BLOCK, 1, TdxStatus.TDX_SYS_BUSY);
    injector.failNext(BLOCK, 1, TdxStatus.TDX_TD_FATAL);
    assertStatus(td.block(GPA, 1), TdxStatus.TDX_SYS_BUSY);
    assertStatus(td.block(GPA, 1), TdxStatus.TDX_GPA_RANGE_ALREADY_BLOCKED | OperandId.RCX);
  }

  @ParameterizedTest
  @CsvSource({
    "TDH_MEM_RANGE_BLOCK, RDX",
    "TDH_MEM_RANGE_BLOCK, OP_STATE",
    "TDH_MEM_RANGE_BLOCK, SEPT_TREE",
    "TDH_MEM_TRACK, RCX",
    "TDH_MEM_TRACK, OP_STATE",
    "TDH_MEM_TRACK, TD_EPOCH",
    "TDH_MEM_PAGE_DEMOTE, RCX",
    "TDH_MEM_PAGE_DEMOTE, RDX",
    "TDH_MEM_PAGE_DEMOTE, R8",
    "TDH_MEM_PAGE_DEMOTE, R12",
    "TDH_MEM_PAGE_DEMOTE, R13",
    "TDH_MEM_PAGE_DEMOTE, SEPT_TREE",
    "TDH_VP_ENTER, RCX",
    "TDH_VP_ENTER, TDR",
    "TDH_VP_ENTER, OP_STATE",
    "TDH_VP_ENTER, TD_EPOCH",
    "TDH_PHYMEM_PAMT_REMOVE, RCX",
    "TDH_PHYMEM_CACHE_WB, WBCACHE",
    "TDH_PHYMEM_CACHE_WB, KOT",
  })
  void contendedLock_isBusyOnce_withItsOperand(String leafName, String operandName) {
    SeamcallLeaf leaf = SeamcallLeaf.valueOf(leafName);
    td.augLarge(GPA);
    if (leaf == SeamcallLeaf.TDH_MEM_PAGE_DEMOTE) {
      td.blockAndTrack(GPA, 1);
    }
    int operand = operand(operandName);
    injector.on(leaf).contend(operand);
    SeamRegs regs = regsOf(leaf);
    SeamRegs again = new SeamRegs();
    again.copyFrom(regs);
    host.call(regs, new ScriptedGuest());
    assertStatus(regs.rax, TdxStatus.TDX_OPERAND_BUSY | operand);
    host.call(again, new ScriptedGuest());
    assertThat(TdxStatus.isBusy(again.rax)).isFalse();
  }

  @Test
  void contendedEntry_leavesHostPriorityAndShowsTheEntry() {
    long hpa = td.augLarge(GPA);
    injector.on(BLOCK).contend(OperandId.SEPT_ENTRY);
    SeamRegs busy = host.call(BLOCK, GPA | 1, td.tdr);
    assertThat(List.of(busy.rax, busy.rcx, busy.rdx))
        .containsExactly(0x8000020000000001L, 0x80000000000000F0L | hpa, 0x0201L);
    GuestOutcome refused = new GuestOutcome.Status(TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);
    assertThat(td.run(ScriptedGuest.accept(GPA, 1)).outcomes).containsExactly(refused);
    assertStatus(td.read(GPA, 1).rax, 0);
    assertThat(td.run(ScriptedGuest.accept(GPA, 1)).outcomes)
        .containsExactly(new GuestOutcome.Status(0));
  }

  @Test
  void contendedTree_leavesHostPriority_asItWould() {
    td.augLarge(GPA);
    injector.on(BLOCK).contend(OperandId.SEPT_TREE);
    td.block(GPA, 1);
    assertThat(module.state().td(td.tdr).treeLock().hasHostPriority()).isTrue();
    assertStatus(td.block(GPA, 1), 0);
    assertThat(module.state().td(td.tdr).treeLock().hasHostPriority()).isFalse();
  }

  @Test
  void contendedEntry_ofVpEnter_isTheGuests() {
    td.augLarge(GPA);
    injector.on(SeamcallLeaf.TDH_VP_ENTER).contend(OperandId.SEPT_ENTRY);
    assertThat(td.run(ScriptedGuest.accept(GPA, 1), ScriptedGuest.accept(GPA, 1)).outcomes)
        .containsExactly(
            new GuestOutcome.Status(TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX),
            new GuestOutcome.Status(0));
  }

  @Test
  void interrupt_reachesTheCallThatIsMeant() {
    td.augLarge(GPA);
    td.blockAndTrack(GPA, 1);
    assertStatus(td.demote(GPA).rax, 0);
    td.blockAndTrack(GPA, 1);
    injector.on(SeamcallLeaf.TDH_MEM_PAGE_PROMOTE).next(2).interrupt();
    injector.on(SeamcallLeaf.TDH_MEM_PAGE_PROMOTE).contend(OperandId.RCX);
    assertStatus(td.promote(GPA, 1, 0).rax, TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);
    assertStatus(td.promote(GPA, 1, 0).rax, TdxStatus.TDX_INTERRUPTED_RESTARTABLE);
    assertStatus(td.promote(GPA, 1, 0).rax, 0);
  }

  @Test
  void interrupt_ofVpEnter_endsTheGuestsRun() {
    td.augLarge(GPA);
    ScriptedGuest guest = new ScriptedGuest(ScriptedGuest.accept(GPA, 1));
    module.attachGuest(td.vcpu(), guest);
    injector.on(SeamcallLeaf.TDH_VP_ENTER).interrupt();
    assertThat(td.enter(guest).rax).isEqualTo(1);
    assertThat(guest.outcomes).isEmpty();
  }

  @Test
  void eventsThatCount_dependOnTheHostsInterruptFlag() {
    td.augLarge(GPA);
    td.blockAndTrack(GPA, 1);
    assertStatus(td.demote(GPA).rax, 0);
    td.blockAndTrack(GPA, 1);
    ScriptedGuest nmi = new ScriptedGuest();
    nmi.nmi = true;
    nmi.interruptsEnabled = false;
    assertStatus(
        host.call(td.promoteRegs(GPA, 1, 0), nmi).rax, TdxStatus.TDX_INTERRUPTED_RESTARTABLE);
    ScriptedGuest masked = new ScriptedGuest();
    masked.interruptsEnabled = false;
    assertThat(masked.isInterruptPending()).isTrue();
    assertStatus(host.call(td.promoteRegs(GPA, 1, 0), masked).rax, 0);
  }

  @Test
  void meanwhile_thatFails_leavesNoLockBehind() {
    injector
        .on(SeamcallLeaf.TDH_MEM_TRACK)
        .meanwhile(
            () -> {
              throw new IllegalStateException("the test's own");
            });
    assertThatThrownBy(td::track).hasMessage("the test's own");
    assertStatus(td.track(), 0);
  }

  @Test
  void callNumbers_startAt1() {
    assertThatThrownBy(() -> injector.on(BLOCK).next(0))
        .hasMessage("call numbers start at 1, not 0");
    assertThatThrownBy(() -> injector.on(BLOCK).number(0))
        .hasMessage("call numbers start at 1, not 0");
  }

  @Test
  void brokenTd_isFatalUntilItIsTornDown() {
    td.augLarge(GPA);
    module.breakTd(td.tdr);
    assertStatus(td.block(GPA, 1), TdxStatus.TDX_TD_FATAL);
    assertStatus(td.enter(new ScriptedGuest()).rax, TdxStatus.TDX_TD_FATAL);
    td.tearDown();
    assertThat(module.view().assignedPages()).isEmpty();
  }

  private SeamRegs regsOf(SeamcallLeaf leaf) {
    return switch (leaf) {
      case TDH_MEM_PAGE_DEMOTE -> td.demoteRegs(GPA);
      case TDH_MEM_TRACK -> SeamRegs.leaf(leaf).rcx(td.tdr);
      case TDH_VP_ENTER -> SeamRegs.leaf(leaf).rcx(td.vcpu());
      case TDH_PHYMEM_PAMT_REMOVE -> SeamRegs.leaf(leaf).rcx(1);
      case TDH_PHYMEM_CACHE_WB -> SeamRegs.leaf(leaf);
      default -> SeamRegs.leaf(leaf).rcx(GPA | 1).rdx(td.tdr);
    };
  }

  private static int operand(String name) {
    for (int id = 0; id < 256; id++) {
      if (OperandId.name(id).equals(name)) {
        return id;
      }
    }
    throw new IllegalArgumentException(name);
  }
}
