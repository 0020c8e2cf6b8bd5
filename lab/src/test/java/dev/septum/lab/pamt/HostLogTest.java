package dev.septum.lab.pamt;

import static dev.septum.lab.pamt.HostLogs.CMRS;
import static dev.septum.lab.pamt.HostLogs.CMRS_KIB;
import static dev.septum.lab.pamt.HostLogs.exhausted;
import static dev.septum.lab.pamt.HostLogs.printed;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.common.collect.ImmutableList;
import dev.septum.lab.bootlog.BootLogException;
import dev.septum.lab.bootlog.GuestLogs;
import dev.septum.lab.pamt.PamtReport.KernelSection;
import dev.septum.lab.pamt.PamtReport.OutcomeSection;
import dev.septum.lab.pamt.PamtReport.TdmrRow;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Logs as hosts, loggers and scissors leave them. */
class HostLogTest {

  private static final String AGREED = "The kernel printed what was computed.";

  @TempDir Path dir;

  private PamtReport read(String text) throws BootLogException, IOException {
    return PamtAccount.of(HostLogs.of(dir, text));
  }

  private void assertAgrees(PamtReport report) {
    assertThat(report.outcome())
        .isEqualTo(new OutcomeSection(true, ImmutableList.of(AGREED), ImmutableList.of()));
  }

  private void assertDiffers(PamtReport report, String difference) {
    assertThat(report.outcome())
        .isEqualTo(new OutcomeSection(false, ImmutableList.of(), ImmutableList.of(difference)));
  }

  private void assertRefused(String text, String message) {
    assertThatThrownBy(() -> read(text))
        .isInstanceOf(BootLogException.class)
        .hasMessageStartingWith(dir.resolve("host.dmesg").toString())
        .hasMessageContaining(message);
  }

  // What loggers and kernels make of the same lines.

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "[    1.360001] ",
        "Jun 30 10:00:01 emr01 kernel: ",
        "<6>[    1.360001] ",
        "[    1.360001][ T1234] ",
        "\u001b[0;32m[    1.360001] \u001b[0m"
      })
  void prefixOfALogger_doesNotMatter(String prefix) throws Exception {
    PamtReport report = read((CMRS + printed(CMRS_KIB)).replace("virt/", prefix + "virt/"));
    assertAgrees(report);
    assertThat(report.staticPamt().printedLine()).isEqualTo(3);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "tdx: 262664 KBs allocated for PAMT.",
        "virt/tdx: 262664 KB allocated for PAMT",
        "tdx: 65666 pages allocated for PAMT.",
        "virt/tdx: 262664 KiB allocated for PAMT\r"
      })
  void pamtLine_isReadInEveryUnit(String line) throws Exception {
    assertThat(read(CMRS + line).staticPamt().printedKib()).isEqualTo(262664);
  }

  @Test
  void cmrLines_inOtherForms_areRead() throws Exception {
    PamtReport report =
        read(
            "tdx: BIOS-CMR: [0x100000, 0x77800000)\n"
                + "tdx: BIOS-CMR: [0x0, 0x0)\n"
                + "tdx: CMR: [mem 0x100000000, 0x107a000000)\n"
                + printed(CMRS_KIB));
    assertThat(report.cmrs()).hasSize(2);
    assertAgrees(report);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "tdx: TDX module: attributes 0x0, vendor_id 0x8086, major_version 1, minor_version 5,"
            + " build_date 20240725, build_num 784 | 1.5, build 784 of 20240725",
        "tdx: TDX module: attributes 0x0, vendor_id 0x8086, major_version 2, minor_version 0 | 2.0",
        "virt/tdx: TDX module version: 1.5.24 | 1.5.24",
        "virt/tdx: module verson: 1.5.1.0 | 1.5.1.0",
        "virt/tdx: TDX module 1.5.06.00, build number 744, build date 0134d817"
            + " | 1.5.06.00, build number 744"
      })
  void moduleLine_ofEveryKernel_isRead(String line, String module) throws Exception {
    assertThat(read(CMRS + line).kernel()).isEqualTo(new KernelSection(module, null, null));
  }

  // Boots.

  @Test
  void severalBoots_theOneThatTellsTheOutcomeIsUsed() throws Exception {
    PamtReport report =
        read(
            """
            [    9.000000] virt/tdx: CMR: [0x100000, 0x77800000)
            [    1.000000] virt/tdx: CMR: [0x100000000, 0x140000000)
            [    2.000000] virt/tdx: 4108 KB allocated for PAMT
            """);

    assertThat(report.tdmrs()).extracting(TdmrRow::start).containsExactly("0x100000000");
    assertThat(report.notes())
        .containsExactly("the log has 2 boots: the one from line 2 on is used");
    assertAgrees(report);
  }

  @Test
  void severalBootsWithoutAnOutcome_theFirstWithMemoryIsUsed() throws Exception {
    PamtReport report =
        read(
            """
            [    9.000000] virt/tdx: BIOS enabled: private KeyID range [32, 64)
            [    1.000000] virt/tdx: CMR: [0x100000000, 0x140000000)
            [    0.000000] virt/tdx: CMR: [0x100000, 0x77800000)
            """);
    assertThat(report.tdmrs()).extracting(TdmrRow::start).containsExactly("0x100000000");
  }

  @Test
  void moduleInitializedTwice_isOneFact() throws Exception {
    String log = CMRS + printed(CMRS_KIB) + "virt/tdx: module initialized\n";
    PamtReport report = read(log + log);
    assertThat(report.cmrs()).hasSize(2);
    assertThat(report.kernel().initialization()).isEqualTo("done (line 8)");
    assertAgrees(report);
  }

  @Test
  void moduleThatFailedAtFirst_isJudgedByItsLastAttempt() throws Exception {
    String failed = "virt/tdx: module initialization failed (-12)\n";
    String done = "virt/tdx: module initialized\n";
    assertThat(read(CMRS + failed + done).kernel().initialization()).isEqualTo("done (line 4)");
    assertThat(read(CMRS + done + failed).kernel().initialization())
        .isEqualTo("failed with errno 12 (line 4)");
  }

  // Lines that are lost.

  @Test
  void pamtLineLost_isNothingToCompare() throws Exception {
    PamtReport report = read(CMRS);
    assertThat(report.outcome())
        .isEqualTo(new OutcomeSection(true, ImmutableList.of(), ImmutableList.of()));
    assertThat(report.notes()).containsExactly("the log prints no size of the PAMT");
    assertThat(PamtText.of(report)).endsWith("\nThere was nothing to compare.\n");
  }

  @Test
  void cmrLineLost_isADifferenceThatTellsTheMissingMemory() throws Exception {
    assertDiffers(
        read(CMRS.lines().findFirst().orElseThrow() + "\n" + printed(CMRS_KIB)),
        "computed 8212 KB, line 2 prints 262664 KB, 254452 KB more: the static PAMT of 64 GiB,"
            + " where the TDMRs have 2 GiB");
  }

  @Test
  void printedLess_isADifferenceToo() throws Exception {
    assertDiffers(
        read(CMRS + printed(CMRS_KIB - 4)),
        "computed 262664 KB, line 3 prints 262660 KB, 4 KB less: the same 64 GiB, as if cut into 1"
            + " TDMRs less");
  }

  @Test
  void lastLineBrokenOff_isLeftOut() throws Exception {
    assertThat(read(CMRS + "virt/tdx: CMR: [0x1080000000, 0x20").cmrs()).hasSize(2);
  }

  @Test
  void cmrsLost_theMemoryMapIsUsed() throws Exception {
    PamtReport report =
        read(
            GuestLogs.e820(0, 0x9efff, "usable")
                + GuestLogs.e820(0x100000, 0x777fffff, "usable")
                + GuestLogs.e820(0x80000000L, 0x8fffffffL, "reserved")
                + GuestLogs.e820(0x100000000L, 0x1079ffffffL, "usable")
                + printed(CMRS_KIB));
    assertAgrees(report);
    assertThat(report.notes())
        .containsExactly("the log has no CMRs: all memory of BIOS-e820 counts");
  }

  @ParameterizedTest
  @CsvSource({"1034220, 252", "4071192, 992"})
  void allMemoryLost_isRefusedWithWhatTheSizeTells(long kib, long gib) {
    assertRefused(
        printed(kib),
        ":1: no CMR and no memory map in the log for these %d KB, the static PAMT of %d GiB"
            .formatted(kib, gib));
  }

  // What is not the log of a host.

  @Test
  void logOfAGuest_isRefusedWithItsLine() {
    assertRefused(GuestLogs.TDX, ":1: the log of a TDX guest, not of a host in \"[");
  }

  @Test
  void logWithoutTdx_isRefused() {
    assertRefused(GuestLogs.e820(0, 0xfffffff, "usable"), ": no sign of a TDX host (looked for");
  }

  @Test
  void hostThatShowsNoMemory_isRefused() {
    assertRefused(
        "virt/tdx: BIOS enabled: private KeyID range [32, 64)",
        ": no CMR and no memory map in the log");
  }

  @Test
  void hostWithNothingAboveTheFirstMib_isRefused() {
    assertRefused(
        GuestLogs.e820(0, 0x9efff, "usable") + printed(4), ": the log shows no memory above 1 MiB");
  }

  // Lines that are wrong.

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "virt/tdx: CMR: [0x100000, 0xg0) | :1: \"g0\" is not a hexadecimal number",
        "virt/tdx: CMR: [0x100000; 0x200000) | :1: not the form that the kernel prints",
        "virt/tdx: CMR: [0x200000, 0x100000) | :1: end 0x100000 is not after start 0x200000",
        "virt/tdx: CMR: [0x200000, 0x20000000000000) | :1: 0x20000000000000 is too large",
        "virt/tdx: lots allocated for PAMT | :1: not the form that the kernel prints",
        "virt/tdx: 12 GB allocated for PAMT | :1: not the form that the kernel prints",
        "virt/tdx: 99999999999999 KB allocated for PAMT | :1: 99999999999999 is too large",
        "virt/tdx: SEAMCALL (0x22) failed: 0xzz | :1: \"0xzz\" is not a 64-bit hexadecimal number"
      })
  void wrongLine_isNamedWithItsValue(String line, String message) {
    assertRefused(line + "\n" + CMRS, message);
  }

  @Test
  void cmrsThatOverlap_areRefused() {
    assertRefused(
        CMRS + "virt/tdx: CMR: [0x1000000000, 0x2000000000)",
        ":3: range [0x1000000000, 0x2000000000) overlaps [0x100000000, 0x107a000000) of line 2");
  }

  @Test
  void twoSizes_contradict() {
    assertRefused(
        CMRS + printed(4) + printed(8),
        ":4: 8 KB contradict 4 KB of line 3: one host has one PAMT");
  }

  // Which memory counts.

  @Test
  void nodeBoundaryInsideACmr_makesTwoTdmrs() throws Exception {
    PamtReport report =
        read(
            "ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x7fffffff]\n"
                + "ACPI: SRAT: Node 0 PXM 0 [mem 0x100000000-0x87fffffff]\n"
                + "ACPI: SRAT: Node 1 PXM 1 [mem 0x880000000-0x107fffffff]\n"
                + CMRS
                + printed(CMRS_KIB + 4));
    assertThat(report.tdmrs())
        .extracting(TdmrRow::start)
        .containsExactly("0x0", "0x100000000", "0x880000000");
    assertAgrees(report);
  }

  @Test
  void rangesOfOneNodeThatTouch_makeNoBoundary() throws Exception {
    PamtReport report =
        read(
            "ACPI: SRAT: Node 0 PXM 0 [mem 0x100000000-0x87fffffff]\n"
                + "ACPI: SRAT: Node 0 PXM 0 [mem 0x880000000-0x107fffffff]\n"
                + CMRS);
    assertThat(report.tdmrs()).hasSize(2);
  }

  @Test
  void nodeRanges_areTheKernelsOwnBlocks() throws Exception {
    PamtReport report =
        read(
            "Early memory node ranges\n"
                + "  node   0: [mem 0x0000000000001000-0x000000000009efff]\n"
                + "  node   0: [mem 0x0000000000100000-0x000000003fffffff]\n"
                + "  node   0: [mem 0x0000000040000000-0x00000000777fffff]\n"
                + "  node   1: [mem 0x0000000100000000-0x0000001079ffffff]\n"
                + CMRS
                + printed(CMRS_KIB + 4));
    assertThat(report.memorySource()).isEqualTo("node ranges");
    assertThat(report.tdmrs())
        .extracting(TdmrRow::start)
        .containsExactly("0x0", "0x40000000", "0x100000000");
    assertAgrees(report);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "  node   0: [mem 0x0000000000100000-0x00000000777fffff]\n",
        "  node   0: [mem 0x0000000100000000-0x0000001079ffffff]\n"
      })
  void memoryMapCutAtItsHeadOrEnd_isCompletedByTheCmrs(String rangeThatIsLeft) throws Exception {
    PamtReport report = read(rangeThatIsLeft + CMRS + printed(CMRS_KIB));
    assertThat(report.memorySource()).isEqualTo("node ranges");
    assertAgrees(report);
  }

  @Test
  void memoryMapCutInside_yieldsToCmrsThatAreWhatTheKernelHad() throws Exception {
    PamtReport report =
        read(
            "  node   0: [mem 0x0000000000100000-0x00000000777fffff]\n"
                + "  node   3: [mem 0x0000001000000000-0x0000001079ffffff]\n"
                + CMRS
                + printed(CMRS_KIB));
    assertThat(report.memorySource()).isEqualTo("the CMRs");
    assertThat(report.notes())
        .containsExactly(
            "TDMRs of node ranges would have 16424 KB of PAMT: some of them are not in the log");
    assertAgrees(report);
  }

  // Dynamic PAMT.

  /** 40 KiB for each GiB, and a page of 1G entries for each TDMR. */
  @Test
  void kernelWithDynamicPamt_printsItsStaticPart() throws Exception {
    PamtReport report = read(CMRS + printed(64 * 40 + 2 * 4));
    assertThat(report.dynamicPamt().inUse()).isTrue();
    assertThat(report.outcome().agreements())
        .containsExactly("The kernel printed what was computed: the static part of Dynamic PAMT.");
  }

  // Limits.

  @Test
  void sixtyFiveTdmrs_areMoreThanTheModuleTakes() throws Exception {
    StringBuilder log = new StringBuilder();
    for (long i = 0; i < 65; i++) {
      log.append("virt/tdx: CMR: [0x%x, 0x%x)\n".formatted((i * 4) << 30, (i * 4 + 1) << 30));
    }
    assertDiffers(read(log.toString()), "65 TDMRs, but the module takes 64");
    String allowed = log.substring(0, log.lastIndexOf("virt"));
    assertThat(read(allowed).outcome().agrees()).isTrue();
  }

  @Test
  void exhaustedTdmrThatIsNoneOfOurs_isADifference() throws Exception {
    assertDiffers(
        read(CMRS + exhausted("[0x0, 0xc0000000)")),
        "line 3 names TDMR [0x0, 0xc0000000), which is none of those here");
  }

  @Test
  void exhaustedTdmrWithoutAMemoryMap_cannotBeJudged() throws Exception {
    PamtReport report = read(CMRS + exhausted("[0x0, 0x80000000)"));
    assertThat(report.outcome().agrees()).isTrue();
    assertThat(report.notes())
        .containsExactly(
            "the log prints no size of the PAMT",
            "line 3: reserved areas of TDMR [0x0, 0x80000000) ran out; holes of the kernel's own"
                + " memory map count, which the log does not show");
  }

  @Test
  void exhaustedTdmrWithFewHoles_isADifference() throws Exception {
    assertDiffers(
        read(GuestLogs.e820(0, 0x777fffff, "usable") + CMRS + exhausted("[0x0, 0x80000000)")),
        "line 4: reserved areas of TDMR [0x0, 0x80000000) ran out, but it has 2 holes and the"
            + " limit is 16");
  }

  @Test
  void failedSeamcall_isDecoded() throws Exception {
    assertThat(read(CMRS + "virt/tdx: SEAMCALL (0x3a) failed: 0x8000020000000001\n").notes())
        .containsExactly(
            "the log prints no size of the PAMT",
            "line 3: SEAMCALL TDH_PHYMEM_PAMT_ADD: TDX_OPERAND_BUSY | RCX (0x8000020000000001)");
  }
}
