package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.kernel.Kernel;
import org.assertj.core.api.AbstractThrowableAssert;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;

/** What no host can bring about: the real module would shut down, this one throws and says why. */
final class FatalErrorsTest {

  private static final long GPA = 0x4000_0000L;

  private final TdxModule module =
      new TdxModule(Kernel.host(), TdxModuleConfig.defaults(), ModuleTestCase.GIB);
  private final TestHost host = new TestHost(module);
  private final TestTd td = host.runnableTd();
  private final long hpa = td.augLarge(GPA);
  private final ModuleState state = module.state();
  private final Pamt pamt = state.pamt();

  @Test
  void malformedEntry() {
    slot().writeUnlocked(0x0040_0000_0000_0000L);
    assertFatal(() -> td.read(GPA, 1)).hasMessage("malformed S-EPT entry 0x40000000000800");
  }

  @Test
  void entryThatNamesAFreePage() {
    pamt.entry(hpa, 1).free();
    assertFatal(() -> td.block(GPA, 1)).hasMessageStartingWith("S-EPT names a page that is NDA: ");
  }

  @Test
  void entryRewrittenWithoutItsLock() {
    assertFatal(() -> slot().write(0))
        .hasMessageStartingWith("S-EPT entry rewritten without its lock: ");
  }

  @Test
  void entryWhoseTableIsGone() {
    long table = state.td(td.tdr).sept().walk(GPA, 2).hpa();
    state.septPages().forget(table);
    assertFatal(() -> td.read(GPA, 1)).hasMessage("no S-EPT table at HPA 0x%x", table);
  }

  @Test
  void unknownPageType() {
    assertFatal(() -> PageType.of(7)).hasMessage("no PAMT page type has the number 7");
  }

  @Test
  void pageCountOutOfRange() {
    PamtEntry node = pamt.entry(td.tdr, 1);
    assertFatal(() -> node.addPages(513 - node.pageCount()))
        .hasMessageStartingWith("PAGE_COUNT left 0..512 when changed by ");
  }

  @Test
  void emptyPairThatCountsPages() {
    long region = host.largePage();
    host.addPair(region);
    pamt.entry(region, 1).addPages(3);
    assertFatal(() -> host.call(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, region | 1, 0))
        .hasMessage("an empty page pair has PAGE_COUNT 3");
  }

  @Test
  void smallPageWithoutPair() {
    assertFatal(() -> pamt.entry(hpa, 0)).hasMessage("no page pair covers HPA 0x%x", hpa);
  }

  @Test
  void addressInNoTdmr() {
    assertFatal(() -> pamt.entry(1L << 40, 1)).hasMessage("no TDMR has HPA 0x10000000000");
  }

  @Test
  void tdrOrTdvprThatNobodyRemembers() {
    assertFatal(() -> state.td(0x5000)).hasMessage("no TD at TDR 0x5000");
    assertFatal(() -> state.vcpu(0x5000)).hasMessage("no vCPU at TDVPR 0x5000");
  }

  @Test
  void vcpuWithoutGuest() {
    state.guests.remove(td.vcpu());
    assertFatal(() -> td.enter(new ScriptedGuest()))
        .hasMessage("no guest is attached to TDVPR 0x%x", td.vcpu());
  }

  @Test
  void stateThatCanNotBeBlocked() {
    assertFatal(SeptState.FREE::blocked).hasMessage("FREE can not be blocked");
  }

  private SeptSlot slot() {
    return state.td(td.tdr).sept().walk(GPA, 1);
  }

  private static AbstractThrowableAssert<?, ? extends Throwable> assertFatal(ThrowingCallable act) {
    return assertThatThrownBy(act).isInstanceOf(IllegalStateException.class);
  }
}
