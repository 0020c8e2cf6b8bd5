package dev.septum.bench;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Kernel;
import org.junit.jupiter.api.Test;

final class FaultLoopTest {

  @Test
  void aFaultAndItsZap_canBeRepeated() {
    try (FaultLoop loop = new FaultLoop(Kernel.host())) {
      loop.faultAndZap();
      loop.faultAndZap();
    }
  }

  @Test
  void aFaultAndItsZap_haveTheSamePointsEachTime() {
    assertThat(FaultLoop.points()).isPositive().isEqualTo(FaultLoop.points());
  }
}
