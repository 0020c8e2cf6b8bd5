package dev.septum.lab.boot;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableMap;
import dev.septum.kernel.Placement;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.TraceSink;
import dev.septum.lab.BootOptions;
import dev.septum.lab.MapGpaChunk;
import dev.septum.lab.Progress;
import dev.septum.lab.TestBackends;
import dev.septum.lab.bootlog.BootLog;
import dev.septum.lab.bootlog.BootLogException;
import dev.septum.lab.bootlog.GuestLogs;
import dev.septum.lab.bootlog.GuestMemoryMap;
import dev.septum.lab.report.BootReport;
import dev.septum.lab.report.JsonReport;
import java.nio.file.Path;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class TdBootTest {

  private static final String G1 = "g1_tdxlinux5_rocky94_4g.dmesg";
  private static final String G5 = "g5_canonical312_gcp_c3_16g.dmesg";

  @TempDir Path dir;

  private static BootOptions options() {
    return options(TestBackends.SOUND);
  }

  private static BootOptions options(KvmBackend backend) {
    return new BootOptions(
        backend,
        1,
        MapGpaChunk.CHUNK_2M,
        true,
        false,
        Placement.SEQUENTIAL,
        1,
        OptionalLong.empty(),
        TraceSink.OFF);
  }

  private static BootOptions options(
      MapGpaChunk chunk, boolean dynamicPamt, boolean touchFirst, Placement placement, int vcpus) {
    return new BootOptions(
        TestBackends.SOUND,
        vcpus,
        chunk,
        dynamicPamt,
        touchFirst,
        placement,
        7,
        OptionalLong.empty(),
        TraceSink.OFF);
  }

  private static BootReport boot(String log, BootOptions options) throws BootLogException {
    return boot(GuestLogs.real(log), options);
  }

  private static BootReport boot(Path log, BootOptions options) throws BootLogException {
    GuestMemoryMap map = BootLog.readMap(log);
    return new TdBoot().boot(map, options, Progress.OFF);
  }

  private static void assertHeld(BootReport report) {
    assertThat(report.outcome().violations()).isEmpty();
    assertThat(report.outcome().bug()).isNull();
    assertThat(report.outcome().leaks()).isEmpty();
    assertThat(report.outcome().held()).isTrue();
  }

  @Test
  void g1_acceptsWhatItsKernelAccepted() throws BootLogException {
    BootReport report = boot(G1, options());

    assertHeld(report);
    assertThat(report.memory().ramKib()).isEqualTo(4191116);
    assertThat(report.memory().ranges()).hasSize(13);
    assertThat(report.accepts().byLevel()).isEqualTo(ImmutableMap.of("2M", 2041L, "4K", 2787L));
    assertThat(report.seamcalls())
        .containsEntry("TDH_MEM_PAGE_ADD", 1024L)
        .containsEntry("TDH_MEM_PAGE_AUG", 2041L + 2787L)
        .containsEntry("TDH_MEM_PAGE_DEMOTE", 128L);
    assertThat(report.stats().vm())
        .containsEntry("pages_2m", 2041L - 128L)
        .containsEntry("pages_4k", 1024L + 2787L + 128 * 512L - 65536L);
  }

  @Test
  void g5_in2MPieces_splitsALeafForEachPieceAndOneMore() throws BootLogException {
    BootReport report = boot(G5, options());

    assertHeld(report);
    assertThat(report.splits().byCause())
        .isEqualTo(
            ImmutableMap.of(
                "guest_accept", 0L,
                "memory_attributes", 513L,
                "punch_hole", 0L,
                "conversion", 0L,
                "dirty_log", 0L,
                "eager", 0L,
                "fault", 0L));
    assertThat(report.conversions()).isEqualTo(new BootReport.ConversionSection(1, 512, 0, 262144));
    assertThat(report.mmuLock().dropsByReason().values()).containsExactly(513L, 513L, 0L);
    assertThat(report.splitCache().topups()).isEqualTo(513);
    assertThat(report.splitCache().pagesPutIn() - report.splitCache().pagesDrawn())
        .isEqualTo(report.splitCache().pagesLeft());
    assertThat(report.pages().afterBoot().get("pamt_page")).isEqualTo(2 * report.pamt().pairsNow());
  }

  @Test
  void g5_inOneCall_splitsTheTwoEndsAndDropsTheRestWhole() throws BootLogException {
    BootReport report = boot(G5, options(MapGpaChunk.WHOLE, true, false, Placement.SEQUENTIAL, 1));

    assertHeld(report);
    assertThat(report.splits().byCause()).containsEntry("memory_attributes", 2L);
    assertThat(report.conversions()).isEqualTo(new BootReport.ConversionSection(1, 1, 511, 512));
  }

  @Test
  void withoutDynamicPamt_theSplitCacheStaysEmpty() throws BootLogException {
    BootReport report =
        boot(G5, options(MapGpaChunk.CHUNK_2M, false, false, Placement.SEQUENTIAL, 1));

    assertHeld(report);
    assertThat(report.splits().byCause()).containsEntry("memory_attributes", 513L);
    assertThat(report.splitCache()).isEqualTo(new BootReport.CacheSection(0, 0, 0, 0));
    assertThat(report.pamt()).isEqualTo(new BootReport.PamtSection(0, 0, 0, 0, 0));
    assertThat(report.seamcalls()).doesNotContainKey("TDH_PHYMEM_PAMT_ADD");
  }

  @Test
  void touchFirst_splitsAroundEachRangeThatIsNot2MAligned() throws BootLogException {
    BootReport report =
        boot(G1, options(MapGpaChunk.CHUNK_2M, true, true, Placement.SEQUENTIAL, 1));

    assertHeld(report);
    assertThat(report.accepts().byLevel()).isEqualTo(ImmutableMap.of("2M", 2041L, "4K", 2787L));
    assertThat(report.splits().byCause()).containsEntry("guest_accept", 7L);
    assertThat(report.faults().byKind()).containsEntry("private, by an ACCEPT", 7L);
  }

  @ParameterizedTest
  @EnumSource(Placement.class)
  void placement_changesPagePairsAndNothingElse(Placement placement) throws BootLogException {
    BootReport report = boot(G5, options(MapGpaChunk.CHUNK_2M, true, false, placement, 1));

    assertHeld(report);
    assertThat(report.splits().byCause()).containsEntry("memory_attributes", 513L);
    boolean together = placement == Placement.SEQUENTIAL;
    assertThat(report.pamt().pairsPeak() < 20).isEqualTo(together);
  }

  @Test
  void sameSeed_givesTheSameReport() throws BootLogException {
    BootOptions options = options(MapGpaChunk.CHUNK_2M, true, false, Placement.SEEDED, 2);

    assertThat(JsonReport.of(boot(G1, options))).isEqualTo(JsonReport.of(boot(G1, options)));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3, 64})
  void vcpus_costControlPages(int vcpus) throws BootLogException {
    BootReport report =
        boot(G1, options(MapGpaChunk.CHUNK_2M, true, false, Placement.SEQUENTIAL, vcpus));

    assertHeld(report);
    assertThat(report.pages().afterBoot()).containsEntry("td_control", 7L + 6L * vcpus);
    assertThat(report.stats().vcpus()).hasSize(vcpus);
  }

  @ParameterizedTest
  @CsvSource({
    "g2_tdxlinux1_ubuntu_4g.dmesg, 128",
    "g3_tdxtools524_8g.dmesg, 255",
    "g7_edgeless_67000M_accept.log, 0"
  })
  void otherRealGuests_boot(String log, long splits) throws BootLogException {
    BootReport report = boot(log, options());

    assertHeld(report);
    assertThat(report.splits().byCause()).containsEntry("memory_attributes", splits);
  }

  @Test
  void ramBelowTheFirmware_movesTheFirmwareUp() throws Exception {
    Path log = GuestLogs.of(dir, GuestLogs.TDX + GuestLogs.e820(0x100000, 0x100000000L, "usable"));

    BootReport report = boot(log, options());

    assertHeld(report);
    assertThat(report.memory().assumptions())
        .anyMatch(text -> text.startsWith("the firmware's 4 MiB at 0x100000000"));
  }

  @Test
  void hostThatIsTooSmall_isReportedAndEveryPageIsBack() throws BootLogException {
    GuestMemoryMap map = BootLog.readMap(GuestLogs.real(G1));
    BootOptions options =
        new BootOptions(
            TestBackends.SOUND,
            1,
            MapGpaChunk.CHUNK_2M,
            true,
            false,
            Placement.SEQUENTIAL,
            1,
            OptionalLong.of(1L << 30),
            TraceSink.OFF);

    BootReport report = new TdBoot().boot(map, options, Progress.OFF);

    assertThat(report.outcome().held()).isFalse();
    assertThat(report.outcome().violations())
        .singleElement()
        .asString()
        .startsWith("the boot ended early: KVM_RUN of vCPU 0: ENOMEM");
    assertThat(report.outcome().leaks()).isEmpty();
  }

  /**
   * Without a failure the two designs do the same, to the page and the SEAMCALL. The five pages
   * that wait for S-EPT tables count as pamt_cache's in v4's one stack.
   */
  @Test
  void onThePostedDesign_theSameBootComesToTheSameReport() throws BootLogException {
    BootReport posted = boot(G1, options(TestBackends.POSTED_V3));
    BootReport sound = boot(G1, options(TestBackends.SOUND));

    assertHeld(posted);
    assertThat(posted.host().backend()).isEqualTo("tdx-v3");
    assertThat(posted.splitCache().topups()).isEqualTo(128);
    assertThat(posted.splitCache().pagesDrawn()).isEqualTo(256);
    assertThat(posted.pages().afterBoot())
        .containsEntry("external_page_table", 0L)
        .containsEntry("pamt_cache", 12L + 5L);
    assertThat(
            JsonReport.of(posted)
                .replace("\"tdx-v3\"", "\"tdx\"")
                .replaceFirst("\"external_page_table\" : 0", "\"external_page_table\" : 5")
                .replace("\"pamt_cache\" : 17", "\"pamt_cache\" : 12"))
        .isEqualTo(JsonReport.of(sound));
  }
}
