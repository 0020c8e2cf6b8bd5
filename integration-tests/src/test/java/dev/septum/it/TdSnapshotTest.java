package dev.septum.it;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.tdx.vmm.Vmm;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** The snapshot shows each change on a line of its own, and nothing when nothing changed. */
final class TdSnapshotTest {

  @RegisterExtension final TdScenario host = TdScenario.packed();

  @Test
  void twoSnapshotsOfTheSameState_areEqual() {
    host.bootWithLeafs(1);
    assertThat(host.snapshot().diffTo(host.snapshot())).isEmpty();
    assertThat(host.snapshot()).isEqualTo(host.snapshot());
  }

  @Test
  void aTopup_showsInTheCacheAndTheCensus() {
    Vmm vmm = host.boot();
    TdSnapshot before = host.snapshot();
    assertThat(vmm.kvm().ops().topupExternalPerVmSplitCache(vmm.kvm(), PageLevel.LEVEL_2M))
        .isEqualTo(Errno.OK);
    List<String> diff = before.diffTo(host.snapshot());
    assertThat(diff)
        .contains("- split cache VM 1: 0", "+ split cache VM 1: 4")
        .filteredOn(line -> !line.contains("pages "))
        .hasSize(2);
    assertThat(before.without("split cache", "pages"))
        .isEqualTo(host.snapshot().without("split cache", "pages"));
  }

  @Test
  void aSplit_showsOnBothSidesAndInThePamt() {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    assertThat(TdScenario.split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    long pfn = TdScenario.pfnOf(vmm, 0x200);

    assertThat(before.diffTo(host.snapshot()))
        .contains("- sept VM 1 1 leafs L2 MAPPED at gfn 0x200: pfn 0x%x".formatted(pfn))
        .contains("+ sept VM 1 512 leafs L1 MAPPED at gfn 0x200: pfn 0x%x".formatted(pfn))
        .contains("+ refcount of 0x%x: 512".formatted(pfn))
        .contains("- stats VM 1 pages_2m: 1", "+ stats VM 1 pages_2m: 0")
        .anyMatch(line -> line.startsWith("- tables VM 1 mirror: leaf L2 gfn=0x200 n=1 "))
        .anyMatch(line -> line.startsWith("+ tables VM 1 mirror: leaf L1 gfn=0x200 n=512 "))
        .anyMatch(line -> line.startsWith("+ sept VM 1 table: SeptTable[gpa=2097152"))
        .anyMatch(line -> line.startsWith("+ pair of 0x%x: ".formatted(pfn)));
  }
}
