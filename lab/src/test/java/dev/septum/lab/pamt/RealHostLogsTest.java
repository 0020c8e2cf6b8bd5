package dev.septum.lab.pamt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.common.collect.ImmutableList;
import dev.septum.lab.bootlog.BootLogException;
import dev.septum.lab.pamt.PamtReport.DynamicSection;
import dev.septum.lab.pamt.PamtReport.KernelSection;
import dev.septum.lab.pamt.PamtReport.OutcomeSection;
import dev.septum.lab.pamt.PamtReport.RangeRow;
import dev.septum.lab.pamt.PamtReport.ReservedRow;
import dev.septum.lab.pamt.PamtReport.StaticSection;
import dev.septum.lab.pamt.PamtReport.TdmrRow;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The hosts in lab/hosts: computed is what their kernels printed. */
class RealHostLogsTest {

  private static PamtReport report(String name) throws BootLogException {
    return PamtAccount.of(HostLogs.real(name));
  }

  @Test
  void h1_isExactInEveryNumber() throws Exception {
    assertThat(report("h1_canonical385_2s_2t.dmesg"))
        .isEqualTo(
            new PamtReport(
                "septum-pamt/1",
                HostLogs.real("h1_canonical385_2s_2t.dmesg").toString(),
                new KernelSection("1.5, build 784 of 20240725", "[32, 64)", "done (line 8)"),
                ImmutableList.of(
                    new RangeRow("0x100000", "0x77800000", 1956864, 4),
                    new RangeRow("0x100000000", "0x1003e000000", 1070563328, 5),
                    new RangeRow("0x10080000000", "0x20040000000", 1072693248, 6)),
                "the CMRs",
                ImmutableList.of(
                    new TdmrRow("0x0", "0x80000000", 2, 8192, 16, 4, 8212, 84),
                    new TdmrRow(
                        "0x100000000", "0x10040000000", 1021, 4182016, 8168, 16, 4190200, 40856),
                    new TdmrRow(
                        "0x10080000000", "0x20040000000", 1023, 4190208, 8184, 16, 4198408, 40936)),
                new StaticSection(2046, 8380416, 16368, 36, 8396820, 8396820L, 7),
                new DynamicSection(
                    false, 65472, 16368, 36, 81876, 4100, 4096, 1047552, 8380416, 8462292, 1047468,
                    1039368),
                16,
                ImmutableList.of(
                    new ReservedRow("[0x0, 0x80000000)", 2, 2, 3, null),
                    new ReservedRow("[0x100000000, 0x10040000000)", 1, 1, 3, null),
                    new ReservedRow("[0x10080000000, 0x20040000000)", 0, 0, 3, null)),
                ImmutableList.of(),
                new OutcomeSection(
                    true,
                    ImmutableList.of("The kernel printed what was computed."),
                    ImmutableList.of())));
  }

  @ParameterizedTest
  @CsvSource({
    "h1_canonical385_2s_2t.dmesg, 3, 2046, 8396820, 81876",
    "h2_4node_1t_build784.dmesg, 5, 1024, 4202516, 40980",
    "h3_4node_1t_build481.dmesg, 5, 1024, 4202516, 40980"
  })
  void printedSize_isComputedExactly(String name, int tdmrs, long gib, long kib, long dynamicKib)
      throws Exception {
    PamtReport report = report(name);

    assertThat(report.tdmrs()).hasSize(tdmrs);
    assertThat(report.staticPamt().gib()).isEqualTo(gib);
    assertThat(report.staticPamt().printedKib()).isEqualTo(kib);
    assertThat(report.staticPamt().computedKib()).isEqualTo(kib);
    assertThat(report.dynamicPamt().staticKib()).isEqualTo(dynamicKib);
    assertThat(report.outcome().agrees()).isTrue();
  }

  /** 1050644 KB is what two other hosts of 256 GiB printed. */
  @ParameterizedTest
  @ValueSource(strings = {"h7_canonical391_4node_256g.dmesg", "h4_emr_too_many_holes.dmesg"})
  void sizeThatIsNotPrinted_isPredicted(String name) throws Exception {
    assertThat(report(name).staticPamt())
        .isEqualTo(new StaticSection(256, 1048576, 2048, 20, 1050644, null, 0));
  }

  @Test
  void h4_hitsTheLimitOfReservedAreasWhereTheKernelSays() throws Exception {
    PamtReport report = report("h4_emr_too_many_holes.dmesg");

    assertThat(report.memorySource()).isEqualTo("BIOS-e820");
    assertThat(report.kernel().initialization()).isEqualTo("failed with errno 28 (line 43)");
    assertThat(report.reserved())
        .containsExactly(
            new ReservedRow("[0x0, 0x80000000)", 17, 2, 5, "[0x6f800000, 0x80000000)"),
            new ReservedRow("[0x100000000, 0x1080000000)", 1, 1, 5, null),
            new ReservedRow("[0x1080000000, 0x2080000000)", 1, 1, 5, null),
            new ReservedRow("[0x2080000000, 0x3080000000)", 1, 1, 5, null),
            new ReservedRow("[0x3080000000, 0x4080000000)", 1, 1, 5, null));
    assertThat(report.outcome())
        .isEqualTo(
            new OutcomeSection(
                true,
                ImmutableList.of(
                    "Reserved areas run out in TDMR [0x0, 0x80000000), as line 42 says."),
                ImmutableList.of()));
  }

  @Test
  void h8_tellsWhyItsModuleDidNotStart() throws Exception {
    PamtReport report = report("h8_canonical331_seamcall_error.dmesg");

    assertThat(report.kernel().initialization()).isEqualTo("failed with errno 5 (line 9)");
    assertThat(report.notes().get(1))
        .startsWith("line 6: SEAMCALL ")
        .endsWith(": TDX_SYS_NOT_READY (0xc000050500000000)");
  }

  @Test
  void h5_linesOfSeveralHosts_areRefused() {
    assertThatThrownBy(() -> report("h5_single_lines.dmesg"))
        .isInstanceOf(BootLogException.class)
        .hasMessageContaining(":3: 4071192 KB contradict 1034220 KB of line 2");
  }
}
