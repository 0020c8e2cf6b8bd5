package dev.septum.lab.boot;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Placement;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.TraceSink;
import dev.septum.lab.BootOptions;
import dev.septum.lab.MapGpaChunk;
import dev.septum.lab.Progress;
import dev.septum.lab.TestBackends;
import dev.septum.lab.bootlog.BootLog;
import dev.septum.lab.bootlog.GuestLogs;
import dev.septum.lab.report.BootReport;
import dev.septum.lab.report.TextReport;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Boots on a backend without a TDX module, beside the same boots as TDs. */
class BackendBootTest {

  private static final String G1 = "g1_tdxlinux5_rocky94_4g.dmesg";
  private static final String G5 = "g5_canonical312_gcp_c3_16g.dmesg";

  private static BootOptions options(
      KvmBackend backend, MapGpaChunk chunk, boolean touchFirst, OptionalLong memory) {
    return new BootOptions(
        backend, 2, chunk, true, touchFirst, Placement.SEQUENTIAL, 1, memory, TraceSink.OFF);
  }

  private static BootReport boot(String log, BootOptions options) throws Exception {
    return new EmulatedBoot().boot(BootLog.readMap(GuestLogs.real(log)), options, Progress.OFF);
  }

  private static BootReport boot(
      KvmBackend backend, String log, MapGpaChunk chunk, boolean touchFirst) throws Exception {
    return boot(log, options(backend, chunk, touchFirst, OptionalLong.empty()));
  }

  /** What KVM does does not depend on what is behind its ops. */
  @ParameterizedTest
  @EnumSource(MapGpaChunk.class)
  void aBoot_isThatOfATd_asFarAsKvmItselfGoes(MapGpaChunk chunk) throws Exception {
    BootReport td = boot(TestBackends.SOUND, G5, chunk, false);
    BootReport vm = boot(TestBackends.REFERENCE, G5, chunk, false);

    assertThat(vm.outcome().held()).isTrue();
    assertThat(vm.memory()).isEqualTo(td.memory());
    assertThat(vm.accepts()).isEqualTo(td.accepts());
    assertThat(vm.splits()).isEqualTo(td.splits());
    assertThat(vm.conversions()).isEqualTo(td.conversions());
    assertThat(vm.stats().vm().get("pages_4k")).isEqualTo(td.stats().vm().get("pages_4k"));
    assertThat(vm.stats().vm().get("pages_2m")).isEqualTo(td.stats().vm().get("pages_2m"));
    assertThat(vm.pages().afterBoot().get("guest_memory"))
        .isEqualTo(td.pages().afterBoot().get("guest_memory"));
    assertThat(vm.pages().secureEpt()).isEqualTo(td.pages().secureEpt());
    assertThat(vm.mmuLock().dropsByReason())
        .containsEntry(
            "to allocate a page table",
            td.mmuLock().dropsByReason().get("to allocate a page table"))
        .containsEntry("to top up the split cache", 0L);
    assertThat(vm.stats().vcpus()).hasSize(2);
  }

  @Test
  void aGuestThatTouchesFirst_splitsForItsAccepts() throws Exception {
    BootReport td = boot(TestBackends.SOUND, G1, MapGpaChunk.CHUNK_2M, true);
    BootReport vm = boot(TestBackends.REFERENCE, G1, MapGpaChunk.CHUNK_2M, true);

    assertThat(vm.outcome().held()).isTrue();
    assertThat(vm.splits()).isEqualTo(td.splits());
    assertThat(vm.splits().byCause().get("guest_accept")).isPositive();
    assertThat(vm.accepts()).isEqualTo(td.accepts());
  }

  @Test
  void whatOnlyAModuleHas_isZero_andNotInTheText() throws Exception {
    BootReport vm = boot(TestBackends.REFERENCE, G1, MapGpaChunk.CHUNK_2M, false);

    assertThat(vm.host().tdxModule()).isFalse();
    assertThat(vm.host().dynamicPamt()).isFalse();
    assertThat(vm.host().backend()).isEqualTo("reference");
    assertThat(vm.seamcalls()).isEmpty();
    assertThat(vm.pamt()).isEqualTo(new BootReport.PamtSection(0, 0, 0, 0, 0));
    assertThat(vm.splitCache()).isEqualTo(new BootReport.CacheSection(0, 0, 0, 0));
    assertThat(TextReport.of(vm))
        .contains("VM        2 vCPUs", "backend reference\n", "external page table pages")
        .doesNotContain("SEAMCALL", "Dynamic PAMT", "Split cache\n", "Secure EPT")
        .endsWith("All held: every page is back.\n");
  }

  @Test
  void aHostThatIsTooSmall_endsTheBootEarly_andEveryPageIsBack() throws Exception {
    BootReport vm =
        boot(
            G1,
            options(
                TestBackends.REFERENCE, MapGpaChunk.CHUNK_2M, false, OptionalLong.of(1L << 30)));

    assertThat(vm.outcome().violations())
        .singleElement()
        .asString()
        .startsWith("the boot ended early: ACCEPT of 0x");
    assertThat(vm.outcome().leaks()).isEmpty();
    assertThat(vm.outcome().bug()).isNull();
  }
}
