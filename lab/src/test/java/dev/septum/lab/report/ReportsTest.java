package dev.septum.lab.report;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import dev.septum.kernel.Placement;
import dev.septum.kvm.TraceSink;
import dev.septum.lab.BootOptions;
import dev.septum.lab.MapGpaChunk;
import dev.septum.lab.TestBackends;
import dev.septum.lab.bootlog.BootLog;
import dev.septum.lab.bootlog.GuestLogs;
import dev.septum.lab.report.BootReport.OutcomeSection;
import java.util.Iterator;
import java.util.List;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ReportsTest {

  private static final BootOptions OPTIONS =
      new BootOptions(
          TestBackends.POSTED_V3,
          4,
          MapGpaChunk.CHUNK_2M,
          true,
          false,
          Placement.SEEDED,
          7,
          OptionalLong.empty(),
          TraceSink.OFF);

  @Test
  void json_hasEveryFieldInItsDocumentedOrder() throws Exception {
    JsonNode json = json(report("g3_tdxtools524_8g.dmesg", SampleReports.HELD));

    assertThat(names(json))
        .containsExactly(
            "format",
            "guest",
            "host",
            "memory",
            "accepts",
            "faults",
            "seamcalls",
            "splits",
            "conversions",
            "splitCache",
            "pamt",
            "mmuLock",
            "retries",
            "pages",
            "stats",
            "outcome");
    assertThat(json.get("format").asText()).isEqualTo("septum-boot/1");
    assertThat(json.get("host").toString())
        .isEqualTo(
            """
            {"memoryBytes":6442450944,"placement":"seeded","seed":7,"dynamicPamt":true,\
            "mapGpaChunk":"2M","backend":"tdx-v3","tdxModule":true}""");
    assertThat(json.get("memory").get("ranges").get(0).toString())
        .isEqualTo(
            """
            {"start":"0x100000","end":"0x7e818000","kib":2071648,"source":"assumed",\
            "assumed":true,"line":0,"accepts2m":1011,"accepts4k":280}""");
    assertThat(names(json.get("memory")))
        .containsExactly("ramKib", "ranges", "swiotlb", "assumptions");
    assertThat(names(json.get("conversions")))
        .containsExactly("mapGpaCalls", "chunks", "wholeLeafsZapped", "smallLeafsZapped");
    assertThat(names(json.get("outcome"))).containsExactly("leaks", "bug", "violations", "held");
  }

  @Test
  void json_keepsTheOrderOfCounters() throws Exception {
    JsonNode json = json(report("g1_tdxlinux5_rocky94_4g.dmesg", SampleReports.HELD));

    assertThat(names(json.get("seamcalls")))
        .containsExactly("TDH.MEM.PAGE.AUG", "TDH.MEM.PAGE.DEMOTE");
    assertThat(names(json.get("stats").get("vm"))).containsExactly("pages_4k", "pages_2m");
  }

  @Test
  void json_isTheSameEachTime() throws Exception {
    BootReport report = report("g1_tdxlinux5_rocky94_4g.dmesg", SampleReports.HELD);

    assertThat(JsonReport.of(report)).isEqualTo(JsonReport.of(report)).endsWith("}\n");
    assertThat(new ObjectMapper().readTree(JsonReport.of(List.of(report, report)))).hasSize(2);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "g1_tdxlinux5_rocky94_4g.dmesg",
        "g2_tdxlinux1_ubuntu_4g.dmesg",
        "g3_tdxtools524_8g.dmesg",
        "g5_canonical312_gcp_c3_16g.dmesg",
        "g7_edgeless_67000M_accept.log"
      })
  void text_fitsAHundredColumns(String log) throws Exception {
    String text = TextReport.of(report(log, SampleReports.HELD));

    assertThat(text.lines()).allSatisfy(line -> assertThat(line).hasSizeLessThanOrEqualTo(100));
    assertThat(text).endsWith("All held: every page is back.\n");
  }

  @Test
  void text_ofG1_beginsWithTheGuestAndItsMap() throws Exception {
    String text = TextReport.of(report("g1_tdxlinux5_rocky94_4g.dmesg", SampleReports.HELD));

    assertThat(text)
        .contains(
            """
            evidence  line 1: [    0.000000] tdx: Guest detected
            TD        4 vCPUs, accepts before the first touch
            host      6144 MiB, placement seeded by seed 7, Dynamic PAMT on, MapGPA chunk 2M, backend tdx-v3

            Guest memory: 4191116 KiB
                       start             end           KiB        2M        4K   line  from
                      0x1000         0xa0000           636         0       159     17  node ranges
            """);
  }

  @Test
  void text_ofAFailedBoot_saysWhatWasFound() throws Exception {
    OutcomeSection outcome =
        new OutcomeSection(
            ImmutableMap.of("pamt_cache", 3L),
            "WARNING: KVM_BUG_ON(x)\nCall Trace:",
            ImmutableList.of("mmu_lock held at exit"));
    assertThat(outcome.held()).isFalse();

    assertThat(TextReport.of(report("g1_tdxlinux5_rocky94_4g.dmesg", outcome)))
        .endsWith(
            """

            Something was found
              3 pages of pamt_cache did not come back
              - mmu_lock held at exit
              WARNING: KVM_BUG_ON(x)
              Call Trace:
            """);
  }

  @Test
  void outcome_holdsOnlyWithNothingFound() {
    assertThat(SampleReports.HELD.held()).isTrue();
    assertThat(new OutcomeSection(ImmutableMap.of("free", 1L), null, ImmutableList.of()).held())
        .isFalse();
    assertThat(new OutcomeSection(ImmutableMap.of(), "splat", ImmutableList.of()).held()).isFalse();
    assertThat(new OutcomeSection(ImmutableMap.of(), null, ImmutableList.of("broken")).held())
        .isFalse();
  }

  private static BootReport report(String log, OutcomeSection outcome) throws Exception {
    return SampleReports.of(BootLog.readMap(GuestLogs.real(log)), OPTIONS, outcome);
  }

  private static JsonNode json(BootReport report) throws Exception {
    return new ObjectMapper().readTree(JsonReport.of(report));
  }

  private static List<String> names(JsonNode node) {
    Iterator<String> names = node.fieldNames();
    return ImmutableList.copyOf(names);
  }
}
