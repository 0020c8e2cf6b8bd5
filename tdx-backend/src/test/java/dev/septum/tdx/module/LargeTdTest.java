package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Kernel;
import org.junit.jupiter.api.Test;

/** A TD of real size: what is uniform takes no memory, and the checker still looks at all of it. */
final class LargeTdTest {

  private static final long GIB = 1L << 30;
  private static final long GPA = 0x4000_0000L;

  @Test
  void tdOf64Gib_ofLargePages_isSmallAndCanBeSplit() {
    TdxModule big = new TdxModule(Kernel.host(), TdxModuleConfig.defaults(), 66 * GIB);
    TestHost bigHost = new TestHost(big);
    TestTd td = bigHost.runnableTd();
    int pages = 32_000;
    for (int i = 0; i < pages; i++) {
      long gpa = GPA + i * TestHost.MIB_2;
      if (i % 512 == 0) {
        td.addTables(gpa, 1);
      }
      bigHost.mustCall(SeamcallLeaf.TDH_MEM_PAGE_AUG, gpa | 1, td.tdr, bigHost.largePage());
      bigHost.mustCall(SeamcallLeaf.TDH_MEM_RANGE_BLOCK, gpa | 1, td.tdr);
    }
    ModuleTestCase.assertStatus(td.track(), 0);
    for (int i = 0; i < 15_000; i++) {
      bigHost.mustCall(td.demoteRegs(GPA + i * TestHost.MIB_2));
    }
    assertThat(big.view().census()).containsEntry(PageType.REG, pages * 512L);
    assertThat(big.view().violations()).isEmpty();
  }
}
