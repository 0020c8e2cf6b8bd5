package dev.septum.kvm;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.KernelThread;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class StatsTest {

  private final Kernel kernel = Kernel.host();
  private final Stats<VcpuStat> stats = new Stats<>(kernel, VcpuStat.class);

  @Test
  void counters_startAt0_underTheirNames_inOrder() {
    Map<String, Long> all = stats.toMap();

    assertThat(all.keySet())
        .containsExactly(
            "pf_taken",
            "pf_fixed",
            "pf_emulate",
            "pf_spurious",
            "pf_fast",
            "pf_mmio_spte_created",
            "exits",
            "io_exits",
            "mmio_exits",
            "insn_emulation",
            "tlb_flush",
            "hypercalls");
    assertThat(all.values()).containsOnly(0L);
  }

  @Test
  void addAndIncrement_changeOneCounter() {
    stats.increment(VcpuStat.EXITS);
    stats.add(VcpuStat.EXITS, 10);
    stats.add(VcpuStat.EXITS, -2);

    assertThat(stats.get(VcpuStat.EXITS)).isEqualTo(9);
    assertThat(stats).hasToString(stats.toMap().toString());
    assertThat(stats.toMap()).containsEntry("exits", 9L).hasSize(12);
    assertThat(stats.toMap().values().stream().mapToLong(Long::longValue).sum()).isEqualTo(9);
  }

  @Test
  void increment_fromTwoThreads_losesNothing() {
    Runnable thousand =
        () -> {
          for (int i = 0; i < 1000; i++) {
            stats.increment(VcpuStat.PF_TAKEN);
          }
        };

    List.of(kernel.spawn("a", thousand), kernel.spawn("b", thousand)).forEach(KernelThread::join);

    assertThat(stats.get(VcpuStat.PF_TAKEN)).isEqualTo(2000);
  }
}
