package dev.septum.it;

import static dev.septum.it.TdScenario.GFN;
import static dev.septum.it.TdScenario.GIB;
import static dev.septum.it.TdScenario.MIB;
import static dev.septum.it.TdScenario.count;
import static dev.septum.it.TdScenario.leafs2M;
import static dev.septum.it.TdScenario.leafs4K;
import static dev.septum.it.TdScenario.share;
import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.MemoryRegion;
import dev.septum.mmu.MmuCounter;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Scenario S20: a module with fewer or more features, and a TD that does not run yet. */
@EachDesign
final class FeatureFlowTest {

  /** Checks the host that the test chose. */
  @RegisterExtension final AfterEachCallback checks = this::check;

  private final TdxDesign design;
  private TdScenario host;

  FeatureFlowTest(TdxDesign design) {
    this.design = design;
    host = TdScenario.packed(design);
  }

  private void check(ExtensionContext context) {
    host.afterEach(context);
  }

  private void use(TdxModuleConfig config) {
    host = TdScenario.of(design, config, Placement.SCATTERED, GIB);
  }

  @Test
  void s20_withoutDynamicPamt_aSplitNeedsNoPamtPage() {
    use(TdxModuleConfig.defaults().withDynamicPamt(false));
    Vmm vmm = host.bootWithLeafs(3);
    long allocations = host.allocations(PageOwner.PAMT_CACHE.tag());
    assertThat(share(vmm, 0x210, 0x620)).isEqualTo(Errno.OK);
    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isEqualTo(2);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_TOPUP)).isZero();
    assertThat(host.allocations(PageOwner.PAMT_CACHE.tag())).isEqualTo(allocations);
    assertThat(leafs4K(vmm, 0x200, 0x800)).isEqualTo(0x10 + 0x1e0);
  }

  @Test
  void s20_withAnInterruptibleDemote_everythingIsMappedAt4KAndNothingSplit() {
    use(TdxModuleConfig.defaults().withEnhancedDemoteInterruptibility(false));
    Vmm vmm = host.boot();
    AcceptMemory accept =
        new AcceptMemory(GFN << 12, (GFN + 512) << 12, AcceptMemory.Order.ACCEPT_FIRST);
    TdScenario.run(vmm, accept);
    assertThat(accept.accepts4K()).isEqualTo(512);
    assertThat(leafs2M(vmm)).isEmpty();
    assertThat(share(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(host.calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isZero();
  }

  @Test
  void s20_measuredMemory_isMappedAt4K() {
    Vmm vmm =
        host.boot(
            new TdLayout(
                ImmutableList.of(new TdLayout.Region(0, 8 * MIB)),
                new TdLayout.Region(2 * MIB, 4 * MIB),
                1,
                2 * MIB,
                true,
                PageLevel.LEVEL_2M));
    assertThat(leafs2M(vmm)).isEmpty();
    assertThat(leafs4K(vmm, 0x200, 0x400)).isEqualTo(512);
    assertThat(host.calls(SeamcallLeaf.TDH_MEM_PAGE_ADD)).isEqualTo(512);
    assertThat(share(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(host.calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isZero();
  }

  @Test
  void memoryInSmallFolios_isMappedAt4K() {
    TdLayout layout = TdScenario.layout(1, new TdLayout.Region(0, 8 * MIB));
    Vmm vmm =
        host.boot(
            new TdLayout(
                layout.memory(),
                layout.firmware(),
                1,
                layout.mapGpaMaxLen(),
                true,
                PageLevel.LEVEL_4K));
    AcceptMemory accept =
        new AcceptMemory(GFN << 12, (GFN + 512) << 12, AcceptMemory.Order.ACCEPT_FIRST);
    TdScenario.run(vmm, accept);
    assertThat(accept.accepts4K()).isEqualTo(512);
    assertThat(leafs2M(vmm)).isEmpty();
  }

  /** Nobody can emulate the write that a protected guest makes to it. */
  @Test
  void aTdHasNoReadOnlyMemory() {
    use(TdxModuleConfig.defaults());
    Vmm vmm = host.boot();
    MemoryRegion region = MemoryRegion.shared(9, 0x40000, 16, Vmm.hvaOf(0x40000000L));
    assertThat(vmm.kvm().mmu().memory().setRegion(region.withFlags(MemoryRegion.READONLY)))
        .isEqualTo(Errno.EINVAL);
    assertThat(vmm.kvm().mmu().memory().setRegion(region)).isEqualTo(Errno.OK);
  }
}
