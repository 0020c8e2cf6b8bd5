package dev.septum.tdx.module;

import static dev.septum.tdx.module.ModuleTestCase.assertStatus;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Kernel;
import org.junit.jupiter.api.Test;

/** The checks before any leaf: reserved bits, version, shutdown, READY, number, in this order. */
final class DispatcherTest {

  private static final long INVALID = TdxStatus.TDX_OPERAND_INVALID | OperandId.RAX;
  private static final long RESERVED = 1L << 24;
  private static final long VERSION_1 = 1L << 16;
  private static final long UNKNOWN = 200;
  private static final long TRACK = 38;

  private final TdxModule loaded =
      TdxModule.loaded(Kernel.host(), TdxModuleConfig.defaults(), Platform.of(1, 1L << 30));
  private final TdxModule ready =
      new TdxModule(Kernel.host(), TdxModuleConfig.defaults(), 1L << 30);

  @Test
  void reservedBits_comeFirst() {
    shutDown();
    for (long bit : new long[] {RESERVED, 1L << 31, 1L << 32, 1L << 63}) {
      assertStatus(status(ready, TRACK | bit), INVALID);
    }
  }

  @Test
  void versionOfLeafWithoutVersions_comesBeforeTheModulesState() {
    assertStatus(status(loaded, TRACK | VERSION_1), INVALID);
    assertStatus(status(loaded, UNKNOWN | VERSION_1), INVALID);
    shutDown();
    assertStatus(status(ready, TRACK | VERSION_1), INVALID);
  }

  @Test
  void versionOfLeafWithVersions_isTheLeafsOwnBusiness() {
    for (long leaf : new long[] {3, 11, 22, 23, 26, 30}) {
      assertStatus(status(loaded, leaf | 9 * VERSION_1), TdxStatus.TDX_SYS_NOT_READY);
      assertStatus(status(ready, leaf | 9 * VERSION_1), INVALID);
    }
  }

  @Test
  void shutdown_comesBeforeNotReadyAndUnknown() {
    shutDown();
    assertStatus(status(ready, TRACK), TdxStatus.TDX_SYS_SHUTDOWN);
    assertStatus(status(ready, UNKNOWN), TdxStatus.TDX_SYS_SHUTDOWN);
    assertStatus(status(ready, 33), TdxStatus.TDX_SYS_SHUTDOWN);
  }

  @Test
  void notReady_comesBeforeUnknown() {
    assertStatus(status(loaded, TRACK), TdxStatus.TDX_SYS_NOT_READY);
    assertStatus(status(loaded, 36), TdxStatus.TDX_SYS_NOT_READY);
    assertStatus(status(loaded, UNKNOWN), TdxStatus.TDX_SYS_NOT_READY);
    assertStatus(status(loaded, 35), TdxStatus.TDX_SYS_LP_INIT_NOT_PENDING);
  }

  @Test
  void unknownLeaf_comesLast() {
    assertStatus(status(ready, UNKNOWN), INVALID);
    assertStatus(status(ready, 0xFFFF), INVALID);
  }

  @Test
  void whatTheDispatcherRefuses_keepsItsOperands_andIsNotCounted() {
    SeamRegs regs = new SeamRegs().rcx(1).rdx(2).r8(3);
    regs.rax = UNKNOWN;
    ready.seamcall(regs);
    assertThat(regs.toString())
        .isEqualTo(
            "rax=c000010000000000 rcx=1 rdx=2 r8=3 r9=0 r10=0 r11=0 r12=0 r13=0 r14=0 r15=0");
    assertThat(ready.calls()).isEmpty();
  }

  @Test
  void everyLeafNumber_isItsOwn_andEveryOtherIsUnknown() {
    int known = 0;
    for (int number = 0; number < 256; number++) {
      known += SeamcallLeaf.of(number).isPresent() ? 1 : 0;
    }
    assertThat(known).isEqualTo(SeamcallLeaf.values().length).isEqualTo(41);
  }

  private void shutDown() {
    assertStatus(status(ready, SeamcallLeaf.TDH_SYS_LP_SHUTDOWN.number()), 0);
  }

  private static long status(TdxModule module, long rax) {
    SeamRegs regs = new SeamRegs();
    regs.rax = rax;
    module.seamcall(regs);
    return regs.rax;
  }
}
