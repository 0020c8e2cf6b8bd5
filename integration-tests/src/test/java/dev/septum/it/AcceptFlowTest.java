package dev.septum.it;

import static dev.septum.it.TdScenario.GFN;
import static dev.septum.it.TdScenario.MIB;
import static dev.septum.it.TdScenario.count;
import static dev.septum.it.TdScenario.leafs2M;
import static dev.septum.it.TdScenario.leafs4K;
import static dev.septum.it.TdScenario.run;
import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.Memslot;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.AcceptMemory.Order;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** The guest accepts its memory: who comes first, at which level, and what it costs the host. */
@EachDesign
final class AcceptFlowTest {

  @RegisterExtension final TdScenario host;

  AcceptFlowTest(TdxDesign design) {
    host = TdScenario.packed(design);
  }

  private Vmm boot(int vcpus) {
    return host.boot(
        TdScenario.withVirtualizationExceptions(
            TdScenario.layout(vcpus, new TdLayout.Region(0, 16 * MIB))));
  }

  private static boolean isInhibited(Vmm vmm, long gfn, PageLevel level) {
    Memslot slot = requireNonNull(vmm.kvm().mmu().memslots().find(gfn));
    return slot.hasGuestInhibit(gfn, level);
  }

  /** Accepts one 4K page. */
  private static AcceptMemory accept4K(long gfn, Order order) {
    return new AcceptMemory(gfn << 12, (gfn + 1) << 12, order);
  }

  private long states(Vmm vmm, SeptState state) {
    return host.tdx().module().view().leafs(vmm.kvm().tdr() << 12).stream()
        .filter(leaf -> leaf.gpa() >>> 12 >= GFN && leaf.gpa() >>> 12 < GFN + 512)
        .filter(leaf -> leaf.state() == state)
        .count();
  }

  @Test
  void s17a_accessFirst_maps2M_thenTheAcceptSplitsIt() {
    Vmm vmm = boot(1);
    run(vmm, accept4K(GFN + 5, Order.TOUCH_FIRST));
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(512);
    assertThat(states(vmm, SeptState.MAPPED)).isEqualTo(1);
    assertThat(states(vmm, SeptState.PENDING)).isEqualTo(511);
    assertThat(vmm.kvm().mmu().splits().get(SplitCause.GUEST_ACCEPT)).isEqualTo(1);
    assertThat(vmm.kvm().counters().get(TdxCounter.PRIVATE_EPT_VIOLATIONS)).isEqualTo(2);
    assertThat(vmm.kvm().counters().get(TdxCounter.ACCEPT_EPT_VIOLATIONS)).isEqualTo(1);
    assertThat(isInhibited(vmm, GFN, PageLevel.LEVEL_2M)).isTrue();
    assertThat(isInhibited(vmm, GFN, PageLevel.LEVEL_1G)).isTrue();
  }

  @Test
  void s17b_acceptFirst_inhibitsAndMaps4K_withoutASplit() {
    Vmm vmm = boot(1);
    long demotes = host.calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE);
    run(vmm, accept4K(GFN + 5, Order.ACCEPT_FIRST));
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(1);
    assertThat(states(vmm, SeptState.MAPPED)).isEqualTo(1);
    assertThat(host.calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isEqualTo(demotes);
    assertThat(vmm.kvm().counters().get(TdxCounter.ACCEPT_EPT_VIOLATIONS)).isEqualTo(1);
    assertThat(vmm.kvm().splitCacheCount()).isZero();
    assertThat(isInhibited(vmm, GFN, PageLevel.LEVEL_2M)).isTrue();
  }

  @Test
  void s17_aWholeRangeAcceptedAt4K_takesTheWriteLockOnce() {
    Vmm vmm = boot(1);
    run(vmm);
    long writes = host.kernel().rwLocksTaken(LockMode.EXCLUSIVE);
    // One page short at each end: no 2M page is left whole.
    run(vmm, new AcceptMemory((GFN + 1) << 12, (GFN + 511) << 12, Order.ACCEPT_FIRST));
    assertThat(host.kernel().rwLocksTaken(LockMode.EXCLUSIVE) - writes).isEqualTo(1);
    assertThat(vmm.kvm().counters().get(TdxCounter.ACCEPT_EPT_VIOLATIONS)).isEqualTo(510);
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(510);
  }

  @Test
  void t16_s17_acceptOf2M_splitsNothingAndInhibits1GOnly() {
    Vmm vmm = boot(1);
    TdScenario.accept2M(vmm, GFN, 1);
    assertThat(leafs2M(vmm)).containsExactly(GFN);
    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isZero();
    assertThat(isInhibited(vmm, GFN, PageLevel.LEVEL_2M)).isFalse();
    assertThat(isInhibited(vmm, GFN, PageLevel.LEVEL_1G)).isTrue();
  }

  @Test
  void t15_twoVcpusAcceptPartsOfOneLeafAtOnce_oneSplitTwoWriteLocks() {
    Vmm vmm = boot(2);
    vmm.vcpus().forEach(vcpu -> vmm.runToHalt(vcpu, GuestProgram.of()));
    AcceptMemory first = accept4K(GFN + 1, Order.TOUCH_FIRST);
    AcceptMemory second = accept4K(GFN + 2, Order.ACCEPT_FIRST);
    AcceptMemory third = accept4K(GFN + 3, Order.ACCEPT_FIRST);
    // The range is mapped at 2M, and not accepted.
    GuestProgram touching = GuestProgram.of(first);
    // The touch took it once. The first vCPU has found no inhibit flag when the second goes all the
    // way.
    host.kernel()
        .otherThreadBefore(
            LockClass.MMU_LOCK,
            2,
            () -> vmm.runToHalt(vmm.vcpus().get(1), GuestProgram.of(second)));
    long writes = host.kernel().rwLocksTaken(LockMode.EXCLUSIVE);
    vmm.runToHalt(vmm.vcpus().get(0), touching);

    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isEqualTo(1);
    assertThat(host.calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isEqualTo(1);
    assertThat(states(vmm, SeptState.MAPPED)).isEqualTo(2);
    assertThat(states(vmm, SeptState.PENDING)).isEqualTo(510);
    // Each took it to honour its accept; the split took it again after each of its two drops.
    assertThat(host.kernel().rwLocksTaken(LockMode.EXCLUSIVE) - writes).isEqualTo(2 + 2);

    run(vmm, third);
    assertThat(host.kernel().rwLocksTaken(LockMode.EXCLUSIVE) - writes).isEqualTo(2 + 2);
  }

  @Test
  void aLargeGuestAcceptsEverything_at2MWhereItCan() {
    Vmm vmm = boot(1);
    AcceptMemory accept = new AcceptMemory(0x1000, 16 * MIB, Order.ACCEPT_FIRST);
    run(vmm, accept);
    assertThat(accept.accepts2M()).isEqualTo(7);
    assertThat(accept.accepts4K()).isEqualTo(511);
    assertThat(leafs2M(vmm)).hasSize(7).doesNotContain(0L);
    assertThat(leafs4K(vmm, 0, 512)).isEqualTo(511);
    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isZero();
  }
}
