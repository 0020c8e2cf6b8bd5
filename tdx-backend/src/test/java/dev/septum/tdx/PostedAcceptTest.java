package dev.septum.tdx;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.Placement;
import dev.septum.kvm.PageLevel;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.vmm.Vmm;
import org.junit.jupiter.api.Test;

/** The posted design on a module that could split a leaf as it is: it does not make use of it. */
final class PostedAcceptTest extends TdTestCase {

  private final Vmm vmm = boot(1, false);
  private final KvmTdx kvm = vmm.kvm();

  PostedAcceptTest() {
    super(
        TdxModuleConfig.defaults().withNonBlockingResize(true),
        Placement.SEQUENTIAL,
        TdxDesign.POSTED_V3);
  }

  private void run(OneInstruction instruction) {
    vmm.runToHalt(vmm.vcpus().get(0), GuestProgram.of(instruction));
  }

  @Test
  void anAcceptBelowTheLeaf_splitsUnderTheWriteLock_andBlocks() {
    run(OneInstruction.write(GFN << 12));
    long writes = kernel.rwLocksTaken(LockMode.EXCLUSIVE);

    run(OneInstruction.accept4K(GFN + 7));

    // Its own, and one after each of the two drops.
    assertThat(kernel.rwLocksTaken(LockMode.EXCLUSIVE)).isEqualTo(writes + 3);
    assertThat(mirrorLeaf(kvm, GFN).level()).isEqualTo(PageLevel.LEVEL_4K);
    assertThat(calls(SeamcallLeaf.TDH_MEM_RANGE_BLOCK)).isEqualTo(1);
    assertThat(calls(SeamcallLeaf.TDH_MEM_TRACK)).isEqualTo(1);
  }
}
