package dev.septum.tdx;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import dev.septum.kernel.Placement;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmBackends;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.AnonymousMemory;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.vmm.Vmm;
import org.junit.jupiter.api.Test;

/** The backend as the service loader finds it, and its answers on mapping levels. */
final class TdxBackendTest extends TdTestCase {

  TdxBackendTest() {
    super(
        TdxModuleConfig.defaults().withEnhancedDemoteInterruptibility(false), Placement.SEQUENTIAL);
  }

  private KvmTdx newVm() {
    return new KvmTdx(tdx, new AnonymousMemory(host.pages()), KvmTdx.MAP_GPA_MAX_LEN);
  }

  @Test
  void tdx_isFoundByItsName() {
    KvmBackend backend = KvmBackends.onClassPath().named("tdx");
    assertThat(backend).isInstanceOf(TdxBackend.class);
    assertThat(backend.hardwareSetup(host).name()).isEqualTo("tdx");
    assertThat(KvmBackends.onClassPath().all()).containsKey("tdx");
  }

  @Test
  void anUnknownName_isRefusedWithTheNamesThatExist() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> KvmBackends.onClassPath().named("sev"))
        .withMessageStartingWith("no backend \"sev\"; there is ")
        .withMessageContaining("tdx");
  }

  @Test
  void sharedMemory_hasNoLimitOfItsLevel() {
    KvmTdx kvm = newVm();
    assertThat(kvm.ops().gmemMaxMappingLevel(kvm, 0, false)).isEqualTo(PageLevel.NONE);
  }

  @Test
  void privateMemory_isMappedAt4KBeforeTheTdRuns() {
    TdxHost capable = new TdxHost(host, TdxModuleConfig.defaults());
    KvmTdx kvm = new KvmTdx(capable, new AnonymousMemory(host.pages()), KvmTdx.MAP_GPA_MAX_LEN);
    assertThat(kvm.ops().gmemMaxMappingLevel(kvm, 0, true)).isEqualTo(PageLevel.LEVEL_4K);
    kvm.setState(TdState.RUNNABLE);
    assertThat(kvm.ops().gmemMaxMappingLevel(kvm, 0, true)).isEqualTo(PageLevel.LEVEL_2M);
  }

  @Test
  void withAnInterruptibleDemote_privateMemoryIsMappedAt4KOnly() {
    Vmm vmm = boot();
    assertThat(vmm.kvm().ops().gmemMaxMappingLevel(vmm.kvm(), 0, true))
        .isEqualTo(PageLevel.LEVEL_4K);
    OneInstruction accept = OneInstruction.accept2M(GFN);
    OneInstruction accept4K = OneInstruction.accept4K(GFN);
    vmm.runToHalt(vmm.vcpus().get(0), GuestProgram.of(accept, accept4K));
    assertThat(mirrorLeaf(vmm.kvm(), GFN).level()).isEqualTo(PageLevel.LEVEL_4K);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isZero();
  }
}
