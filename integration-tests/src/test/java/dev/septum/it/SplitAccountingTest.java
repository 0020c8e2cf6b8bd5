package dev.septum.it;

import static dev.septum.it.TdScenario.MIB;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.mmu.MappedTable;
import dev.septum.mmu.MmuView;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/**
 * Many splits in a row on a host that places pages at random: each uses two pages or four, and the
 * next topup brings just what is missing (traces T1, T2 and T3).
 */
@EachDesign
final class SplitAccountingTest {

  @RegisterExtension final TdScenario host;

  SplitAccountingTest(TdxDesign design) {
    host = TdScenario.of(design, TdxModuleConfig.defaults(), Placement.SEEDED, 512 * MIB);
  }

  @Test
  void t1_t2_t3_s1_s2_eachSplitUsesTwoPagesWhereItsSeptPageIsBacked_elseFour() {
    int leafs = 64;
    Vmm vmm = host.boot(TdScenario.layout(1, new TdLayout.Region(0, 2 * MIB * leafs)));
    TdScenario.accept2M(vmm, 0, leafs);
    int[] seen = new int[5];
    for (int i = 0; i < leafs; i++) {
      long gfn = 512L * i;
      int before = vmm.kvm().splitCacheCount();
      long in = vmm.kvm().counters().get(TdxCounter.SPLIT_CACHE_PAGES_IN);
      long pairs = host.tdx().dpamt().pairsInstalled();

      assertThat(TdScenario.split(vmm, gfn + 1, gfn + 2)).isEqualTo(Errno.OK);
      boolean wasBacked = host.tdx().dpamt().refcount(septPageOf(vmm, gfn)) > 1;
      int used = wasBacked ? 2 : 4;
      assertThat(vmm.kvm().counters().get(TdxCounter.SPLIT_CACHE_PAGES_IN) - in)
          .as("pages that the topup of split %s brought", i)
          .isEqualTo(4 - before);
      assertThat(vmm.kvm().splitCacheCount()).isEqualTo(4 - used);
      assertThat(host.tdx().dpamt().pairsInstalled() - pairs).isEqualTo(used / 2);
      seen[used]++;
    }
    assertThat(seen[2]).as("splits with a backed S-EPT page").isPositive();
    assertThat(seen[4]).as("splits with an unbacked S-EPT page").isPositive();
    assertThat(host.pages().census().get(PageOwner.PAMT_PAGE))
        .isEqualTo(2 * host.tdx().dpamt().pairsInstalled());
  }

  private static long septPageOf(Vmm vmm, long gfn) {
    return new MmuView(vmm.kvm().mmu())
        .mirrorTables().stream()
            .filter(table -> table.gfn() == gfn && table.level().number() == 2)
            .mapToLong(MappedTable::externalSpt)
            .findFirst()
            .orElseThrow();
  }
}
