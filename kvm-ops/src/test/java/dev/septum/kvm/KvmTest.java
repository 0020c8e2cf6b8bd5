package dev.septum.kvm;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.PageAllocator;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class KvmTest {

  private final Kernel kernel = Kernel.host();
  private final TestKvm kvm = new TestKvm(kernel);

  @Test
  void bugOn_conditionFalse_leavesTheVmAlone() {
    assertThat(kvm.bugOn(false, "level != PG_LEVEL_2M")).isFalse();

    assertThat(kvm.isBugged()).isFalse();
    assertThat(kvm.splat()).isNull();
  }

  @Test
  void bugOn_conditionTrue_bugsTheVmWithAReportInTheKernelsShape() {
    assertThat(kvm.bugOn(true, "level != PG_LEVEL_2M")).isTrue();

    assertThat(kvm.isBugged()).isTrue();
    Splat splat = requireNonNull(kvm.splat());
    assertThat(splat.vmId()).isEqualTo(7);
    assertThat(splat.expression()).isEqualTo("level != PG_LEVEL_2M");
    String self = "KvmTest.bugOn_conditionTrue_bugsTheVmWithAReportInTheKernelsShape+";
    assertThat(splat.where()).matches("\\Q" + self + "\\E\\d+");
    List<String> lines = splat.toString().lines().toList();
    assertThat(lines.get(0)).isEqualTo("------------[ cut here ]------------");
    assertThat(lines.get(1))
        .isEqualTo("WARNING: KVM_BUG_ON(level != PG_LEVEL_2M) at " + splat.where() + ", VM 7");
    assertThat(lines.get(2)).isEqualTo("Call Trace:");
    assertThat(lines.get(3)).isEqualTo(" <TASK>");
    assertThat(lines.get(4)).isEqualTo("  " + splat.where());
    assertThat(lines.subList(4, lines.size() - 2))
        .hasSizeBetween(1, 12)
        .allMatch(line -> line.matches(" {2}[\\w$/.<>]+\\+-?\\d+"));
    assertThat(lines.subList(lines.size() - 2, lines.size()))
        .containsExactly(" </TASK>", "---[ end trace ]---");
  }

  @Test
  void bugOn_again_keepsTheFirstReport() {
    kvm.bugOn(true, "first");
    Splat first = kvm.splat();

    assertThat(kvm.bugOn(true, "second")).isTrue();

    assertThat(kvm.splat()).isSameAs(first);
  }

  @Test
  void bugOn_fromManyThreads_leavesOneReport() {
    List<KernelThread> threads = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      String expression = "thread " + i;
      threads.add(
          kernel.spawn(
              expression,
              () -> {
                kvm.bugOn(true, expression);
                assertThat(kvm.isBugged()).isTrue();
              }));
    }
    threads.forEach(KernelThread::join);

    assertThat(requireNonNull(kvm.splat()).expression()).startsWith("thread ");
  }

  @Test
  void kickAllVcpus_countsThoseThatWereInTheGuest() {
    kvm.newVcpu();
    Vcpu inside = kvm.newVcpu();
    inside.guestMode().enter();
    KernelThread guest =
        kernel.spawn(
            "guest",
            () -> {
              while (!inside.guestMode().isExitRequested()) {
                kernel.condResched();
              }
              inside.guestMode().leave();
            });

    assertThat(kvm.kickAllVcpus()).isEqualTo(1);

    guest.join();
    assertThat(inside.guestMode().isInGuest()).isFalse();
    assertThat(kvm.kickAllVcpus()).isZero();
  }

  @Test
  void flushRemoteTlbs_countsTheRequestAndWhetherAVcpuWasInTheGuest() {
    Vcpu vcpu = kvm.newVcpu();
    kvm.newVcpu().guestMode().enter();

    kvm.flushRemoteTlbs();
    kvm.vcpus().get(1).guestMode().leave();
    kvm.flushRemoteTlbs();

    assertThat(vcpu.id()).isZero();
    assertThat(kvm.stats().get(VmStat.REMOTE_TLB_FLUSH_REQUESTS)).isEqualTo(2);
    assertThat(kvm.stats().get(VmStat.REMOTE_TLB_FLUSH)).isEqualTo(1);
  }

  @Test
  void ops_thatABackendLeavesOut_doNothingAndReturn0() {
    KvmX86Ops ops = new KvmX86Ops() {};
    Vcpu vcpu = kvm.newVcpu();

    assertThat(ops.linkExternalSpt(kvm, 0, PageLevel.LEVEL_2M, 1)).isEqualTo(Errno.OK);
    assertThat(ops.topupExternalPerVmSplitCache(kvm, PageLevel.LEVEL_2M)).isEqualTo(Errno.OK);
    assertThat(ops.needTopupExternalPerVmSplitCache(kvm, PageLevel.LEVEL_2M)).isFalse();
    assertThat(ops.allocExternalFaultCache(vcpu)).isEqualTo(PageAllocator.NO_PAGE);
    assertThat(ops.gmemMaxMappingLevel(kvm, 0, true)).isEqualTo(PageLevel.NONE);
    assertThat(kvm.isBugged()).isFalse();
  }

  @Test
  void errno_hasTheKernelsNumbers() {
    assertThat(Errno.OK.code()).isZero();
    assertThat(Errno.OK.isError()).isFalse();
    assertThat(Errno.ENOMEM.code()).isEqualTo(-12);
    assertThat(Errno.EIO.code()).isEqualTo(-5);
    assertThat(Errno.EAGAIN.code()).isEqualTo(-11);
    assertThat(Errno.EOPNOTSUPP.code()).isEqualTo(-95);
    assertThat(Errno.EOPNOTSUPP.isError()).isTrue();
  }

  @Test
  void vmType_privateMemoryAndMirrorAreTdxs() {
    assertThat(VmType.DEFAULT.hasPrivateMemory()).isFalse();
    assertThat(VmType.SW_PROTECTED.hasPrivateMemory()).isTrue();
    assertThat(VmType.SW_PROTECTED.hasMirroredTdp()).isFalse();
    assertThat(VmType.TDX.hasMirroredTdp()).isTrue();
  }

  @Test
  void vmStat_pagesOfALevel_areCountedForLeafsOnly() {
    assertThat(VmStat.pages(PageLevel.LEVEL_4K)).hasToString("pages_4k");
    assertThat(VmStat.pages(PageLevel.LEVEL_2M)).hasToString("pages_2m");
    assertThat(VmStat.pages(PageLevel.LEVEL_1G)).hasToString("pages_1g");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> VmStat.pages(PageLevel.LEVEL_512G))
        .withMessage("no leafs at level LEVEL_512G");
  }
}
