package dev.septum.lab.bootlog;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.junit.jupiter.api.Test;

class RealGuestLogsTest {

  private static final MapOptions NOTHING_ASSUMED = new MapOptions(false, false);

  @Test
  void g1_completeNodeRanges_areTheMap() throws Exception {
    GuestMemoryMap map = map("g1_tdxlinux5_rocky94_4g.dmesg");

    assertThat(ram(map))
        .containsExactly(
            "1000-a0000 NODE_RANGES",
            "100000-80c000 NODE_RANGES",
            "80d000-7d095000 NODE_RANGES",
            "7d096000-7d18f000 NODE_RANGES",
            "7d192000-7d198000 NODE_RANGES",
            "7d19a000-7d1b7000 NODE_RANGES",
            "7d200000-7d40c000 NODE_RANGES",
            "7d52f000-7d54b000 NODE_RANGES",
            "7d56c000-7d56e000 NODE_RANGES",
            "7d5af000-7e7b5000 NODE_RANGES",
            "7e80d000-7e80e000 NODE_RANGES",
            "7e819000-7ff7c000 NODE_RANGES",
            "100000000-180000000 NODE_RANGES");
    assertThat(map.ramBytes() >> 10).isEqualTo(4_191_116);
    assertThat(AcceptPlan.of(map).accepts2m()).isEqualTo(2041);
    assertThat(AcceptPlan.of(map).accepts4k()).isEqualTo(2787);
    assertThat(map.evidence()).isEqualTo(new TdxEvidence(stamped("tdx: Guest detected"), 1, true));
    assertThat(map.vcpus()).hasValue(4);
  }

  @Test
  void g1_bounceBufferOfLoggedSize_isPlacedTopDown() throws Exception {
    GuestMemoryMap map = map("g1_tdxlinux5_rocky94_4g.dmesg");

    assertThat(map.swiotlb()).contains(new SwiotlbBuffer(0x6d095000L, 0x7d095000L, true));
    assertThat(texts(map))
        .containsExactly(
            "the log does not place the bounce buffer of 256 MiB: 0x6d095000, the top of the"
                + " highest RAM below 4 GiB that it fits into");
  }

  @Test
  void g2_cutNodeRanges_areCompletedToTheEndOfMemoryLessHoles() throws Exception {
    GuestMemoryMap map = map("g2_tdxlinux1_ubuntu_4g.dmesg");

    assertThat(ram(map))
        .containsExactly(
            "1000-a0000 PARTIAL_NODE_RANGES",
            "100000-80c000 PARTIAL_NODE_RANGES",
            "80d000-7d09c000 PARTIAL_NODE_RANGES",
            "7d09d000-7d195000 PARTIAL_NODE_RANGES",
            "7d196000-7d197000 PARTIAL_NODE_RANGES",
            "7d199000-7d19a000 PARTIAL_NODE_RANGES",
            "7d19c000-7d1b7000 PARTIAL_NODE_RANGES",
            "7d1b7000-7e80d000 MEMORY_ENDS",
            "7e819000-7ff7c000 MEMORY_ENDS",
            "100000000-180000000 MEMORY_ENDS");
    assertThat(map.vcpus()).hasValue(4);
    assertThat(texts(map))
        .contains(
            "the kernel's list of RAM is cut in the log",
            "better sources are cut: 3 RAM ranges are from ends of memory");
  }

  @Test
  void g3_mapCutAtItsHead_hasItsLowMemoryAssumed() throws Exception {
    GuestMemoryMap map = map("g3_tdxtools524_8g.dmesg");

    assertThat(ram(map))
        .containsExactly(
            "100000-7e818000 ASSUMED", "7e818000-7ff7c000 E820", "100000000-280000000 E820");
    assertThat(map.ram()).extracting(RamRange::assumed).containsExactly(true, false, false);
    assertThat(texts(map)).contains("RAM from 1 MiB to 0x7e818000: the map is cut at its head");
    assertThat(map.evidence().certain()).isFalse();
  }

  @Test
  void g3_withoutAssumedMemory_hasTheLoggedRangesOnly() throws Exception {
    GuestMemoryMap map =
        BootLog.read(GuestLogs.real("g3_tdxtools524_8g.dmesg")).memoryMap(NOTHING_ASSUMED);

    assertThat(ram(map)).containsExactly("7e818000-7ff7c000 E820", "100000000-280000000 E820");
    assertThat(map.swiotlb()).isEmpty();
    assertThat(texts(map))
        .contains(
            "RAM from 1 MiB to 0x7e818000 is left out: the log does not show it",
            "no RAM below 4 GiB has room for a bounce buffer of 512 MiB: none is converted");
  }

  @Test
  void g5_srat_outranksTheCutNodeRanges() throws Exception {
    GuestMemoryMap map = map("g5_canonical312_gcp_c3_16g.dmesg");

    assertThat(ram(map))
        .containsExactly("0-a0000 SRAT", "100000-c0000000 SRAT", "100000000-440000000 SRAT");
    assertThat(map.swiotlb()).contains(new SwiotlbBuffer(0x7bdff000L, 0xbbdff000L, false));
    assertThat(texts(map))
        .containsExactly("the SRAT's memory is all RAM: firmware's own parts are not told apart");
    assertThat(map.evidence().certain()).isTrue();
    assertThat(map.vcpus()).isEmpty();
  }

  @Test
  void g7_firstOfTwoBoots_hasTheAcceptedRegionAndAssumedLowMemory() throws Exception {
    GuestMemoryMap map = map("g7_edgeless_67000M_accept.log");

    assertThat(ram(map))
        .containsExactly("100000-80000000 ASSUMED", "100000000-10db800000 ACCEPTED");
    assertThat(map.swiotlb()).contains(new SwiotlbBuffer(0x40000000L, 0x80000000L, true));
    assertThat(texts(map)).contains("the log has 2 boots: the one from line 2 on is used");
  }

  @Test
  void g7_withoutAssumedMemory_isTheLoggedRegion() throws Exception {
    GuestMemoryMap map =
        BootLog.read(GuestLogs.real("g7_edgeless_67000M_accept.log")).memoryMap(NOTHING_ASSUMED);

    assertThat(ram(map)).containsExactly("100000000-10db800000 ACCEPTED");
    assertThat(map.ramBytes() >> 10).isEqualTo(66_510_848);
    assertThat(AcceptPlan.of(map).accepts2m()).isEqualTo(32476);
    assertThat(AcceptPlan.of(map).accepts4k()).isZero();
  }

  @Test
  void g8_logWithoutAMap_isRefused() {
    assertThatThrownBy(() -> map("g8_flashbots25.dmesg"))
        .isInstanceOf(BootLogException.class)
        .hasMessageContaining("g8_flashbots25.dmesg: no memory map in the log (looked for");
  }

  @Test
  void x1_snpLaunch_isRefusedByItsFirstLine() {
    assertThatThrownBy(() -> map("x1_sevutils17_snp_launch.log"))
        .isInstanceOf(BootLogException.class)
        .hasMessageContaining("x1_sevutils17_snp_launch.log:1: not (only) a TDX guest")
        .hasMessageContaining("kvm_sev_snp_launch_start");
  }

  @Test
  void x2_linesOfManyGuests_areRefusedWhereTheyContradict() {
    assertThatThrownBy(() -> map("x2_other_swiotlb.dmesg"))
        .isInstanceOf(BootLogException.class)
        .hasMessageContaining("x2_other_swiotlb.dmesg:3: bounce buffer [0x6e42a000, 0x7242a000)")
        .hasMessageContaining("contradicts [0x1fb9c00000, 0x1ff9c00000) of line 2");
  }

  @Test
  void x3_plainVm_isRefusedUnlessAssumedToBeATdxGuest() throws Exception {
    String log = "x3_syzkaller317_gce_8g.dmesg";
    assertThatThrownBy(() -> map(log))
        .isInstanceOf(BootLogException.class)
        .hasMessageContaining("no sign of a TDX guest")
        .hasMessageContaining("--assume-tdx boots it anyway");

    GuestMemoryMap map = BootLog.read(GuestLogs.real(log)).memoryMap(new MapOptions(true, true));
    assertThat(ram(map))
        .containsExactly("0-9f000 E820", "100000-bfffd000 E820", "100000000-220000000 E820");
  }

  private static GuestMemoryMap map(String log) throws BootLogException {
    return BootLog.readMap(GuestLogs.real(log));
  }

  static List<String> ram(GuestMemoryMap map) {
    return map.ram().stream()
        .map(r -> "%x-%x %s".formatted(r.startGpa(), r.endGpa(), r.source().name()))
        .toList();
  }

  static List<String> texts(GuestMemoryMap map) {
    return map.assumptions().stream().map(Assumption::text).toList();
  }

  private static String stamped(String text) {
    return "[    0.000000] " + text;
  }
}
