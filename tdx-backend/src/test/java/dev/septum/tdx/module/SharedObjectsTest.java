package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Two calls at one S-EPT entry, one PAMT region, one vCPU: who is BUSY on what, and what stays. */
final class SharedObjectsTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;
  private static final long BUSY = TdxStatus.TDX_OPERAND_BUSY;

  private final TestTd td =
      host.runnableTd(TdParams.defaults().withAttributes(TdParams.DEBUG | 1L << 28));

  @BeforeEach
  void callsCallEachOther() {
    host.shareModule();
  }

  @ParameterizedTest
  @EnumSource(
      names = {
        "TDH_MEM_PAGE_AUG",
        "TDH_MEM_SEPT_ADD",
        "TDH_MEM_PAGE_REMOVE",
        "TDH_MEM_PAGE_RELOCATE",
        "TDH_MEM_PAGE_DEMOTE",
        "TDH_MEM_SEPT_RD",
        "TDH_MEM_RD"
      })
  void secondCallAtTheSameEntry_isBusy_andGuestsStandBack(SeamcallLeaf leaf) {
    SeamRegs first = atOneEntry(leaf);
    int level = (int) first.rcx & 7;
    SeamRegs second = SeamRegs.leaf(SeamcallLeaf.TDH_MEM_SEPT_RD).rcx(first.rcx).rdx(td.tdr);
    meanwhile(leaf, second);
    host.mustCall(first);
    assertStatus(second.rax, BUSY | OperandId.RCX);
    assertThat(second.rdx & 7).isEqualTo(level);
    SeptSlot slot = module.state().td(td.tdr).sept().walk(GPA, level);
    assertThat(slot.tryLockByGuest()).isEqualTo(SeptSlot.GuestLock.BUSY_HOST_PRIORITY);
    assertStatus(td.read(GPA, level).rax, 0);
    assertThat(slot.tryLockByGuest()).isEqualTo(SeptSlot.GuestLock.TAKEN);
    slot.unlock();
  }

  @Test
  void guestInTheMiddleOfAccept_makesHostsBusyAtItsEntryOnly() {
    td.augLarge(GPA);
    td.augLarge(GPA + TestHost.MIB_2);
    List<Long> statuses = new ArrayList<>();
    MeddlingProcessor processor =
        new MeddlingProcessor(
            () -> {
              statuses.add(td.read(GPA, 1).rax);
              statuses.add(td.block(GPA, 1));
              statuses.add(td.read(GPA + TestHost.MIB_2, 1).rax);
              statuses.add(td.block(GPA + TestHost.MIB_2, 1));
              statuses.add(td.track());
            });
    ScriptedGuest guest =
        new ScriptedGuest(ScriptedGuest.accept(GPA, 1), new GuestInstruction.AttrRead(GPA));
    module.attachGuest(td.vcpu(), guest);
    host.call(SeamRegs.leaf(SeamcallLeaf.TDH_VP_ENTER).rcx(td.vcpu()), processor);
    assertThat(statuses).containsExactly(BUSY | OperandId.RCX, BUSY | OperandId.RCX, 0L, 0L, 0L);
    // The ACCEPT went on, but the next TDCALL at that entry leaves the host the first turn.
    td.enter(guest);
    assertThat(guest.outcomes)
        .containsExactly(new GuestOutcome.Status(0), new GuestOutcome.Status(BUSY | OperandId.RCX));
  }

  @Test
  void vcpuInside_holdsTdvprAndTdrOnly() {
    td.augLarge(GPA);
    List<Long> statuses = new ArrayList<>();
    module.attachGuest(
        td.vcpu(),
        new CallingGuest(
            () -> {
              statuses.add(host.call(SeamcallLeaf.TDH_VP_FLUSH, td.vcpu(), 0).rax);
              statuses.add(host.call(SeamcallLeaf.TDH_MNG_VPFLUSHDONE, td.tdr, 0).rax);
              statuses.add(host.call(SeamcallLeaf.TDH_MR_FINALIZE, td.tdr, 0).rax);
              statuses.add(td.block(GPA, 1));
              statuses.add(td.track());
              statuses.add(td.demote(GPA).rax);
            }));
    host.call(
        SeamRegs.leaf(SeamcallLeaf.TDH_VP_ENTER).rcx(td.vcpu()),
        new ScriptedGuest(ScriptedGuest.read(0)));
    assertThat(statuses)
        .containsExactly(
            BUSY | OperandId.RCX,
            BUSY | OperandId.RCX,
            BUSY | OperandId.RCX,
            0L,
            0L,
            TdxStatus.TDX_TLB_TRACKING_NOT_DONE | OperandId.RCX);
    assertStatus(td.demote(GPA).rax, 0);
  }

  @Test
  void vpEnterOfTwoProcessors_isForTheOneThatHasTheVcpu() {
    ScriptedGuest elsewhere = new ScriptedGuest();
    elsewhere.number = 1;
    assertStatus(td.enter(elsewhere).rax, TdxStatus.TDX_VCPU_ASSOCIATED);
    assertStatus(
        host.call(SeamRegs.leaf(SeamcallLeaf.TDH_VP_FLUSH).rcx(td.vcpu()), elsewhere).rax,
        TdxStatus.TDX_VCPU_NOT_ASSOCIATED);
    assertStatus(host.call(SeamcallLeaf.TDH_VP_FLUSH, td.vcpu(), 0).rax, 0);
    assertThat(td.enter(elsewhere).rax).isEqualTo(1);
  }

  @Test
  void pageOfRegion_andItsPagePair_excludeEachOther() {
    td.addTables(GPA, 1);
    long region = host.largePage();
    SeamRegs add = pair(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, region);
    SeamRegs large = mem(SeamcallLeaf.TDH_MEM_PAGE_AUG, GPA | 1).r8(region);
    meanwhile(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, large);
    host.mustCall(add);
    assertStatus(large.rax, BUSY | OperandId.R8);

    SeamRegs table = mem(SeamcallLeaf.TDH_MEM_SEPT_ADD, GPA | 1).r8(region);
    SeamRegs remove = pair(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, region);
    meanwhile(SeamcallLeaf.TDH_MEM_SEPT_ADD, remove);
    host.mustCall(table);
    assertStatus(remove.rax, BUSY | OperandId.RCX);

    long next = host.largePage();
    host.addPair(next);
    SeamRegs small = SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_RDMD).rcx(next);
    meanwhile(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, small);
    host.mustCall(pair(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, next));
    assertStatus(small.rax, BUSY | OperandId.RCX);
  }

  @Test
  void demotedPage_andPromotedPage_areTheirRegionsOwn() {
    long hpa = td.augLarge(GPA);
    td.blockAndTrack(GPA, 1);
    SeamRegs during = SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_RDMD).rcx(hpa);
    SeamRegs elsewhere = SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_RDMD).rcx(td.tdr);
    meanwhile(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, during);
    meanwhile(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, elsewhere);
    SeamRegs demote = host.mustCall(td.demoteRegs(GPA));
    assertStatus(during.rax, BUSY | OperandId.RCX);
    assertStatus(elsewhere.rax, 0);

    td.blockAndTrack(GPA, 1);
    SeamRegs again = SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_RDMD).rcx(hpa + 4096);
    SeamRegs table = SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_RDMD).rcx(demote.r8);
    meanwhile(SeamcallLeaf.TDH_MEM_PAGE_PROMOTE, again);
    meanwhile(SeamcallLeaf.TDH_MEM_PAGE_PROMOTE, table);
    host.mustCall(td.promoteRegs(GPA, 1, 0));
    assertStatus(again.rax, BUSY | OperandId.RCX);
    assertStatus(table.rax, BUSY | OperandId.RCX);
  }

  @Test
  void reclaim_holdsPageAndTdr() {
    long hpa = td.augSmall(GPA);
    host.mustCall(SeamcallLeaf.TDH_VP_FLUSH, td.vcpu(), 0);
    host.mustCall(SeamcallLeaf.TDH_MNG_VPFLUSHDONE, td.tdr, 0);
    host.mustCall(SeamcallLeaf.TDH_PHYMEM_CACHE_WB, 0, 0);
    host.mustCall(SeamcallLeaf.TDH_MNG_KEY_FREEID, td.tdr, 0);
    SeamRegs page = SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_WBINVD).rcx(hpa);
    SeamRegs tdr = SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM).rcx(td.tdr);
    SeamRegs sibling = SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM).rcx(td.vcpu());
    meanwhile(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM, page, tdr, sibling);
    host.mustCall(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM, hpa, 0);
    assertStatus(page.rax, BUSY | OperandId.RCX);
    assertStatus(tdr.rax, BUSY | OperandId.RCX);
    assertStatus(sibling.rax, 0);
    assertThat(module.view().assignedPages()).doesNotContainKeys(hpa, td.vcpu());
  }

  private SeamRegs atOneEntry(SeamcallLeaf leaf) {
    return switch (leaf) {
      case TDH_MEM_PAGE_AUG -> {
        td.addTables(GPA, 1);
        yield mem(leaf, GPA | 1).r8(host.largePage());
      }
      case TDH_MEM_SEPT_ADD -> {
        td.addTables(GPA, 1);
        yield mem(leaf, GPA | 1).r8(host.controlPage());
      }
      case TDH_MEM_PAGE_DEMOTE -> {
        td.augLarge(GPA);
        td.blockAndTrack(GPA, 1);
        yield td.demoteRegs(GPA);
      }
      case TDH_MEM_RD -> {
        td.augSmall(GPA);
        td.run(ScriptedGuest.accept(GPA, 0));
        yield mem(leaf, GPA);
      }
      default -> {
        td.augSmall(GPA);
        td.blockAndTrack(GPA, 0);
        yield mem(leaf, GPA).r8(host.controlPage());
      }
    };
  }

  private void meanwhile(SeamcallLeaf first, SeamRegs... seconds) {
    module
        .injector()
        .on(first)
        .meanwhile(
            () -> {
              for (SeamRegs second : seconds) {
                KernelThread thread = kernel.spawn("second", () -> module.seamcall(second));
                thread.join();
              }
            });
  }

  private SeamRegs mem(SeamcallLeaf leaf, long word) {
    return SeamRegs.leaf(leaf).rcx(word).rdx(td.tdr);
  }

  private SeamRegs pair(SeamcallLeaf leaf, long region) {
    return SeamRegs.leaf(leaf).rcx(region | 1).rdx(host.pamtPage()).r8(host.pamtPage());
  }

  /** A processor that does something when the guest is in the middle of an ACCEPT. */
  private static final class MeddlingProcessor implements LogicalProcessor {

    private final Runnable meddling;
    private int looks;

    MeddlingProcessor(Runnable meddling) {
      this.meddling = meddling;
    }

    @Override
    public boolean isInterruptPending() {
      looks++;
      if (looks == 100) {
        meddling.run();
      }
      // 511 looks between the chunks of one ACCEPT, and one before it.
      return looks > 512;
    }

    @Override
    public boolean isSharedMapped(long gpaWithoutSharedBit, AccessKind kind) {
      return false;
    }
  }

  /** A guest at whose first instruction the host makes some calls; it then touches nothing. */
  private static final class CallingGuest implements TdGuest {

    private final Runnable calls;

    CallingGuest(Runnable calls) {
      this.calls = calls;
    }

    @Override
    public GuestInstruction next() {
      calls.run();
      return ScriptedGuest.read(0);
    }

    @Override
    public void retired(GuestInstruction instruction, GuestOutcome outcome) {}
  }
}
