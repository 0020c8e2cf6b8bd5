package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Kernel;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** The module used alone, as docs/tdx-module.md shows it. */
final class ModuleExampleTest {

  private static final long LIST = 0x2000;
  private static final long INFO = 0x3000;
  private static final long PAIR = 0x400_0000;

  private final TdxModule module =
      TdxModule.loaded(Kernel.host(), TdxModuleConfig.defaults(), Platform.of(1, 1L << 30));

  @Test
  void loadedModule_isBroughtUpAndMeetsABusyHost() {
    TdmrInfo memory =
        new TdmrInfo(
            new PhysicalRange(0, 1L << 30),
            List.of(
                new PhysicalRange(0x800_0000, 4096), // 1G entries
                new PhysicalRange(0x801_0000, 8192), // 2M entries
                new PhysicalRange(0x802_0000, 32768)), // one bit for each 4K page
            List.of(new PhysicalRange(0x800_0000, 0x20_0000)));
    module.writeTdmrInfo(INFO, memory);
    module.writeTdmrList(LIST, List.of(INFO));
    call(SeamRegs.leaf(SeamcallLeaf.TDH_SYS_INIT));
    call(SeamRegs.leaf(SeamcallLeaf.TDH_SYS_LP_INIT));
    call(SeamRegs.leaf(SeamcallLeaf.TDH_SYS_CONFIG).rcx(LIST).rdx(1).r8(1L << 16 | 127));
    call(SeamRegs.leaf(SeamcallLeaf.TDH_SYS_KEY_CONFIG));
    for (long done = 0; done < memory.range().bytes(); ) {
      done = call(SeamRegs.leaf(SeamcallLeaf.TDH_SYS_TDMR_INIT)).rdx;
    }

    SeamRegs pair =
        SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD).rcx(1).rdx(PAIR).r8(PAIR + 4096);
    module.injector().on(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD).contend(OperandId.RCX);
    module.seamcall(pair);
    assertThat(TdxStatus.describe(pair.rax)).startsWith("TDX_OPERAND_BUSY | RCX");

    call(SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD).rcx(1).rdx(PAIR).r8(PAIR + 4096));
    call(SeamRegs.leaf(SeamcallLeaf.TDH_MNG_CREATE).rcx(0x1000).rdx(1));
    assertThat(module.view().assignedPages()).containsExactly(Map.entry(0x1000L, PageType.TDR));
    assertThat(module.view().violations()).isEmpty();
  }

  private SeamRegs call(SeamRegs regs) {
    module.seamcall(regs);
    assertThat(TdxStatus.describe(regs.rax)).startsWith("TDX_SUCCESS");
    return regs;
  }
}
