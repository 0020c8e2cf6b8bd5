package dev.septum.lab.bootlog;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Logs with lines lost, moved, doubled and garbled: a map that holds together, or one error. */
class DamagedLogsTest {

  private static final int ROUNDS = 400;
  private static final LogDamage DAMAGE = new LogDamage("0123456789abcdefx-[] :\u001b\u0000", 8);

  @TempDir Path dir;

  @ParameterizedTest
  @ValueSource(
      strings = {
        "g1_tdxlinux5_rocky94_4g.dmesg",
        "g2_tdxlinux1_ubuntu_4g.dmesg",
        "g3_tdxtools524_8g.dmesg",
        "g5_canonical312_gcp_c3_16g.dmesg",
        "g7_edgeless_67000M_accept.log",
        "x2_other_swiotlb.dmesg",
        "x3_syzkaller317_gce_8g.dmesg"
      })
  void damagedLog_givesAConsistentMapOrOneError(String name) throws Exception {
    List<String> lines = Files.readAllLines(GuestLogs.real(name));
    int maps = 0;
    for (int seed = 0; seed < ROUNDS; seed++) {
      Path log = GuestLogs.of(dir, DAMAGE.of(lines, new Random(seed)));
      for (boolean assumeMemory : new boolean[] {true, false}) {
        try {
          GuestMemoryMap map = BootLog.read(log).memoryMap(new MapOptions(true, assumeMemory));
          assertConsistent(map, "seed " + seed);
          maps++;
        } catch (BootLogException e) {
          assertThat(e).hasMessageStartingWith(log + ":");
          assertThat(e.getMessage()).doesNotContain("\n");
        }
      }
    }
    assertThat(maps).isPositive();
  }

  private static void assertConsistent(GuestMemoryMap map, String seed) {
    long end = 0;
    for (RamRange range : map.ram()) {
      assertThat(range.startGpa()).as(seed).isGreaterThanOrEqualTo(end);
      end = range.endGpa();
    }
    assertThat(map.ram()).as(seed).isNotEmpty();
    map.swiotlb()
        .ifPresent(
            buffer -> {
              assertThat(buffer.startGpa() % 4096).as(seed).isZero();
              assertThat(buffer.bytes()).as(seed).isPositive();
            });
    long accepted =
        AcceptPlan.of(map).accepts2m() * (2 << 20) + AcceptPlan.of(map).accepts4k() * 4096;
    assertThat(accepted).as(seed).isEqualTo(map.ramBytes());
  }
}
