package dev.septum.lab.bootlog;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class BootLogTest {

  private static final String RAM_1G = GuestLogs.e820(0, 0x3fffffffL, "usable");

  @TempDir Path dir;

  // Broken files.

  @Test
  void missingFile_isNamed() {
    assertRefused(dir.resolve("nowhere.dmesg"), "nowhere.dmesg: no such file");
  }

  @Test
  void directory_isNamed() {
    assertRefused(dir, dir + ": is a directory, not a boot log");
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "\n\n", "# only a comment\n// and another\n"})
  void logWithoutALine_isEmpty(String text) throws Exception {
    assertRefused(GuestLogs.of(dir, text), "guest.dmesg: the log is empty");
  }

  @Test
  void compressedLog_isNotText() throws Exception {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (GZIPOutputStream zip = new GZIPOutputStream(bytes)) {
      zip.write(Files.readAllBytes(GuestLogs.real("g1_tdxlinux5_rocky94_4g.dmesg")));
    }
    Path log = Files.write(dir.resolve("guest.gz"), bytes.toByteArray());

    assertRefused(log, "guest.gz:1: not a text file: ");
  }

  // Broken lines: each names its line and its value.

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "BIOS-e820: [mem 0x2000-0x0fff] usable | end 0x1000 is not after start 0x2000",
        "BIOS-e820: [mem 0x1000-0x1ffe] usable | range [0x1000, 0x1fff) holds no whole 4 KiB page",
        "BIOS-e820: [mem 0x1000-0xfzff] usable | \"fzff\" is not a hexadecimal number",
        "BIOS-e820: [mem 0x1000-0x10000000000000] usable | 0x10000000000000 is too large",
        "BIOS-e820: [mem 0x1000-0xffffffffffffffffffff] usable | 0xffffffffffffffffffff is too large",
        "BIOS-e820: [mem 0x1000-0x1fff] | no type after the range",
        "BIOS-e820: [mem 0x1000] usable | not the form that the kernel prints",
        "BIOS-e820: [mem 0x3ffff000-0x40000fff] usable | overlaps [0x0, 0x40000000) of line 2",
        "BIOS-e820: [mem 0x3ffff000-0x40000fff] reserved | overlaps [0x0, 0x40000000) of line 2",
        "node   0: [mem 0x5000-0x4fff] | end 0x5000 is not after start 0x5000",
        "SRAT: Node 0 PXM 0 [mem 0xg-0x4fff] | \"g\" is not a hexadecimal number",
        "efi: mem00: [Conventional] range=[0x1000-0x0) (0MB) | end 0x0 is not after start 0x1000",
        "last_pfn = 0x10000000001 max | 0x10000000001 is too large",
        "accept_memory(start=0x1000 size=0x0) | end 0x1000 is not after start 0x1000",
        "accept_memory(start=0xfffffffffffff size=0x1000) | is beyond 52 bits",
        "unaccepted: version=1 unit_size=3000000 phys_base=0x0 size=0x1 | unit size 3000000 is no",
        "software IO TLB: mapped [mem 0x100000-0x4100000] (65MB) | is not of 65 MiB",
        "software IO TLB: mapped [mem 0x50000000-0x54000000] (64MB) | is not in the guest's RAM",
      })
  void brokenLine_isRefusedWithItsNumberAndValue(String line, String message) throws Exception {
    Path log = GuestLogs.of(dir, GuestLogs.TDX + RAM_1G + line + "\nkernel: more\n");

    assertThatThrownBy(() -> BootLog.readMap(log))
        .isInstanceOf(BootLogException.class)
        .hasMessageStartingWith(log + ":3: ")
        .hasMessageContaining(message)
        .hasMessageContaining(line.strip());
  }

  @Test
  void lineThatBreaksOffAtTheEndOfTheLog_isLeftOut() throws Exception {
    GuestMemoryMap map = map(GuestLogs.TDX + RAM_1G + "BIOS-e820: [mem 0x00000001000");

    assertThat(RealGuestLogsTest.ram(map)).containsExactly("0-40000000 E820");
    assertThat(RealGuestLogsTest.texts(map)).contains("line 3 breaks off: it is left out");
  }

  @Test
  void nodeRangeBeyondItsNode_isAContradiction() throws Exception {
    Path log =
        GuestLogs.of(
            dir,
            GuestLogs.TDX
                + "Early memory node ranges\n"
                + "  node   0: [mem 0x0000000000001000-0x000000003fffffff]\n"
                + "Initmem setup node 0 [mem 0x0000000000001000-0x000000002fffffff]\n");

    assertRefused(log, ":3: range [0x1000, 0x40000000) is beyond node 0, which ends at 0x30000000");
  }

  @Test
  void linesOfTdxAndSnp_areRefused() throws Exception {
    Path log =
        GuestLogs.of(dir, GuestLogs.TDX + RAM_1G + "Memory Encryption Features active: AMD SEV\n");

    assertRefused(log, ":3: not (only) a TDX guest");
  }

  @Test
  void hostLog_isRefused() throws Exception {
    Path log =
        GuestLogs.of(dir, RAM_1G + "virt/tdx: BIOS enabled: private KeyID range [64, 128)\n");

    assertRefused(log, ":2: the log of a TDX host, not of a guest");
  }

  // What stands around a fact does not matter.

  @ParameterizedTest
  @ValueSource(
      strings = {
        "%s\n",
        "%s\r\n",
        "[    0.000000] %s\n",
        "<6>[    0.000000][    T0] %s\n",
        "Nov 21 20:21:13 guest kernel: %s\n",
        "Nov 21 20:21:13 guest kernel: [    0.000000] %s\n",
        "2026-11-21T20:21:13.080727+00:00 guest kernel: %s\n",
        "[Sat Nov 21 20:21:13 2026] %s\n",
        "\u001b[32m[    0.000000] \u001b[0m\u001b[33m%s\u001b[0m\r\n",
      })
  void loggersPrefixesAndColours_areSeenThrough(String form) throws Exception {
    GuestMemoryMap map =
        map(
            "\ufeff"
                + form.formatted("tdx: Guest detected")
                + form.formatted("BIOS-provided physical RAM map:")
                + form.formatted(GuestLogs.e820(0, 0x9ffff, "usable").strip())
                + form.formatted(GuestLogs.e820(0x100000, 0x7fffffff, "usable").strip())
                + form.formatted("last_pfn = 0x80000 max_arch_pfn = 0x10000000000")
                + form.formatted("software IO TLB: mapped [mem 0x10000000-0x14000000] (64MB)"));

    assertThat(RealGuestLogsTest.ram(map)).containsExactly("0-a0000 E820", "100000-80000000 E820");
    assertThat(map.swiotlb()).contains(new SwiotlbBuffer(0x10000000, 0x14000000, false));
    assertThat(map.assumptions()).isEmpty();
  }

  @Test
  void newerKernelsE820_withSizesAndGaps_isRead() throws Exception {
    GuestMemoryMap map =
        map(
            GuestLogs.TDX
                + "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff]  639   KB System RAM\n"
                + "BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff]    1   KB device reserved\n"
                + "BIOS-e820: [gap 0x00000000000a0000-0x00000000000effff]  320   KB ...\n"
                + "BIOS-e820: [mem 0x0000000000100000-0x000000007ffdbfff]    1.9 GB System RAM\n");

    assertThat(RealGuestLogsTest.ram(map)).containsExactly("0-9f000 E820", "100000-7ffdc000 E820");
  }

  @Test
  void olderKernelsBounceBufferLine_hasItsLastByteIncluded() throws Exception {
    GuestMemoryMap map =
        map(
            GuestLogs.TDX
                + RAM_1G
                + "software IO TLB [mem 0x10000000-0x13ffffff] (64MB) mapped at [a-b]\n");

    assertThat(map.swiotlb()).contains(new SwiotlbBuffer(0x10000000, 0x14000000, false));
  }

  // Sources, best first.

  @Test
  void e820CutAtItsTail_isCompletedByTheSrat() throws Exception {
    GuestMemoryMap map =
        map(
            GuestLogs.TDX
                + GuestLogs.e820(0, 0x9ffff, "usable")
                + GuestLogs.e820(0x100000, 0x7fffffff, "usable")
                + "ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x7fffffff]\n"
                + "ACPI: SRAT: Node 0 PXM 0 [mem 0x100000000-0x17fffffff]\n"
                + "ACPI: SRAT: Node 0 PXM 0 [mem 0x180000000-0x2ffffffff] hotplug\n");

    assertThat(RealGuestLogsTest.ram(map))
        .containsExactly("0-a0000 E820", "100000-80000000 E820", "100000000-180000000 SRAT");
    assertThat(RealGuestLogsTest.texts(map))
        .contains("better sources are cut: 1 RAM ranges are from ACPI SRAT");
  }

  @Test
  void srat_losesTheHolesThatAreKnown() throws Exception {
    GuestMemoryMap map =
        map(
            GuestLogs.TDX
                + "ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x7fffffff]\n"
                + "PM: Registered nosave memory: [mem 0x000a0000-0x000fffff]\n");

    assertThat(RealGuestLogsTest.ram(map)).containsExactly("0-a0000 SRAT", "100000-80000000 SRAT");
  }

  @Test
  void efiMap_joinsWhatTheKernelFrees() throws Exception {
    GuestMemoryMap map =
        map(
            GuestLogs.TDX
                + "efi: mem00: [Boot Code      |   |  |WB|  ] range=[0x0-0xfff] (0MB)\n"
                + "efi: mem01: [Conventional   |   |  |WB|  ] range=[0x1000-0x9ffff] (0MB)\n"
                + "efi: mem02: [Conventional   |   |  |WB|  ] range=[0x100000-0x7fffffff] (1MB)\n"
                + "efi: mem03: [Reserved       |   |  |WB|  ] range=[0x80000000-0x8fffffff] (1MB)\n"
                + "efi: mem04: [Unaccepted] range=[0x0000000100000000-0x000000017fffffff] (2048MB)\n");

    assertThat(RealGuestLogsTest.ram(map))
        .containsExactly("0-a0000 EFI", "100000-80000000 EFI", "100000000-180000000 EFI");
  }

  @Test
  void nodeRangesThatAddUpToTheTotal_areCompleteWithoutTheirHead() throws Exception {
    GuestMemoryMap map =
        map(
            GuestLogs.TDX
                + "  node   0: [mem 0x0000000000100000-0x000000003fffffff]\n"
                + "  node   1: [mem 0x0000000040000000-0x000000007fffffff]\n"
                + "Memory: 1000000K/2096128K available\n");

    assertThat(map.ram()).extracting(RamRange::source).containsOnly(RangeSource.NODE_RANGES);
    assertThat(map.ramBytes() >> 10).isEqualTo(2_096_128);
  }

  @Test
  void nodeRangesShortOfTheTotal_areNotComplete() throws Exception {
    GuestMemoryMap map =
        map(
            GuestLogs.TDX
                + "Early memory node ranges\n"
                + "  node   0: [mem 0x0000000000100000-0x000000003fffffff]\n"
                + "Initmem setup node 0 [mem 0x0000000000100000-0x000000003fffffff]\n"
                + "Memory: 1000000K/2096128K available\n");

    assertThat(RealGuestLogsTest.ram(map)).containsExactly("100000-40000000 PARTIAL_NODE_RANGES");
    assertThat(RealGuestLogsTest.texts(map))
        .contains("the map of 1047552 KiB is right, not the log's total of 2096128");
  }

  @Test
  void bitmapThatStartsBelow4G_leavesTheHoleOut() throws Exception {
    GuestMemoryMap map =
        map(
            """
            accept_memory(start=0x170000000 size=0x200000)
            unaccepted: version=1 unit_size=2097152 phys_base=0x800000 size=0xfdc
            """);

    assertThat(RealGuestLogsTest.ram(map))
        .containsExactly(
            "100000-800000 ASSUMED", "800000-80000000 ACCEPTED", "100000000-170200000 ACCEPTED");
  }

  @Test
  void sameLineTwice_isOneFact() throws Exception {
    assertThat(map(GuestLogs.TDX + RAM_1G + RAM_1G).ram()).hasSize(1);
  }

  @Test
  void secondBanner_startsASecondBootWithoutStamps() throws Exception {
    GuestMemoryMap map =
        map(
            "Linux version 6.9\ntdx: Guest detected\n"
                + RAM_1G
                + "Linux version 6.9\n"
                + GuestLogs.e820(0, 0x7fffffff, "usable"));

    assertThat(RealGuestLogsTest.ram(map)).containsExactly("0-40000000 E820");
    assertThat(RealGuestLogsTest.texts(map))
        .contains("the log has 2 boots: the one from line 1 on is used");
  }

  @Test
  void stampsThatStepBackALittle_areOneBoot() throws Exception {
    GuestMemoryMap map = map("[    0.109000] tdx: Guest detected\n[    0.100000] " + RAM_1G);

    assertThat(RealGuestLogsTest.texts(map)).noneMatch(text -> text.contains("boots"));
  }

  // The bounce buffer.

  @Test
  void bounceBufferOfUnknownSize_is6PercentOfRamRoundedUp() throws Exception {
    GuestMemoryMap map = map(GuestLogs.TDX + GuestLogs.e820(0, 0x7fffffff, "usable"));

    // 6 % of 2 GiB is 122 MiB.
    assertThat(map.swiotlb()).contains(new SwiotlbBuffer(0x78000000L, 0x80000000L, true));
  }

  @ParameterizedTest
  @CsvSource({
    "SWIOTLB bounce buffer size adjusted to 949MB, 949",
    "SWIOTLB bounce buffer size roundup to 256MB, 256",
    "Command line: swiotlb=65536 quiet, 128"
  })
  void bounceBufferOfLoggedSize_isPlacedAtTheTop(String line, long mib) throws Exception {
    GuestMemoryMap map = map(GuestLogs.TDX + GuestLogs.e820(0, 0x7fffffff, "usable") + line + "\n");

    assertThat(map.swiotlb())
        .contains(new SwiotlbBuffer(0x80000000L - (mib << 20), 0x80000000L, true));
  }

  @Test
  void guestThatSaysItHasNoBounceBuffer_convertsNothing() throws Exception {
    GuestMemoryMap map = map(GuestLogs.TDX + RAM_1G + "software IO TLB: No low mem\n");

    assertThat(map.swiotlb()).isEmpty();
    assertThat(RealGuestLogsTest.texts(map))
        .contains("no bounce buffer is converted: line 3 says so");
  }

  @Test
  void loggedBounceBufferAbove2G_tellsHowFarLowMemoryGoes() throws Exception {
    GuestMemoryMap map =
        map(
            GuestLogs.TDX
                + GuestLogs.e820(0x100000000L, 0x17fffffffL, "usable")
                + "software IO TLB: mapped [mem 0x7bdff000-0xbbdff000] (1024MB)\n");

    assertThat(RealGuestLogsTest.ram(map))
        .containsExactly("100000-bbdff000 ASSUMED", "100000000-180000000 E820");
  }

  // vCPUs.

  @ParameterizedTest
  @CsvSource({
    "'smp: Brought up 1 node, 8 CPUs', 8",
    "'smpboot: Allowing 6 CPUs, 2 hotplug CPUs', 6",
    "'CPU topo: Allowing 12 present CPUs plus 0 hotplug CPUs', 12",
    "'setup_percpu: NR_CPUS:8192 nr_cpumask_bits:4 nr_cpu_ids:4 nr_node_ids:1', 4",
    "'rcu: RCU restricting CPUs from NR_CPUS=8192 to nr_cpu_ids=3.', 3"
  })
  void vcpus_areCountedFromTheLog(String line, int vcpus) throws Exception {
    assertThat(map(GuestLogs.TDX + RAM_1G + line + "\n").vcpus()).hasValue(vcpus);
  }

  // Evidence.

  @ParameterizedTest
  @ValueSource(
      strings = {
        "Memory Encryption Features active: Intel TDX",
        "Memory Encryption Features active: TDX",
        "process: using TDX aware idle routine",
        "systemd[1]: Detected confidential virtualization tdx."
      })
  void linesOfTdxGuestsOnly_areProof(String line) throws Exception {
    assertThat(map(RAM_1G + line + "\n").evidence()).isEqualTo(new TdxEvidence(line, 2, true));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "Memory encryption is active and system is using DMA bounce buffers",
        "Command line: swiotlb=force quiet"
      })
  void linesOfAnyConfidentialGuest_areAnAssumption(String line) throws Exception {
    GuestMemoryMap map = map(RAM_1G + line + "\n");

    assertThat(map.evidence().certain()).isFalse();
    assertThat(RealGuestLogsTest.texts(map))
        .contains("it is a TDX guest: \"" + line + "\" is no proof");
  }

  @Test
  void acceptPlan_goesUpInEachRange() throws Exception {
    GuestMemoryMap map =
        map(GuestLogs.TDX + "BIOS-provided physical RAM map\n" + range(0x1ff000, 0x601fff));

    assertThat(AcceptPlan.of(map).ranges())
        .singleElement()
        .extracting(AcceptPlan.RangeAccepts::runs)
        .isEqualTo(
            List.of(
                run(0x1ff000, "LEVEL_4K", 1),
                run(0x200000, "LEVEL_2M", 2),
                run(0x600000, "LEVEL_4K", 2)));
  }

  @Test
  void rangeInsideOneHugePage_isAcceptedIn4K() throws Exception {
    GuestMemoryMap map =
        map(GuestLogs.TDX + "BIOS-provided physical RAM map\n" + range(0x201000, 0x2fffff));

    assertThat(AcceptPlan.of(map).ranges())
        .singleElement()
        .extracting(AcceptPlan.RangeAccepts::runs)
        .isEqualTo(List.of(run(0x201000, "LEVEL_4K", 255)));
  }

  private static String range(long start, long end) {
    return GuestLogs.e820(start, end, "usable");
  }

  private static AcceptPlan.AcceptRun run(long start, String level, long count) {
    return new AcceptPlan.AcceptRun(start, dev.septum.kvm.PageLevel.valueOf(level), count);
  }

  private GuestMemoryMap map(String text) throws IOException, BootLogException {
    return BootLog.readMap(
        Files.write(dir.resolve("guest.dmesg"), text.getBytes(StandardCharsets.UTF_8)));
  }

  private static void assertRefused(Path log, String message) {
    assertThatThrownBy(() -> BootLog.readMap(log))
        .isInstanceOf(BootLogException.class)
        .hasMessageContaining(message);
  }
}
