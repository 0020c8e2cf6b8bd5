package dev.septum.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class GuestModeTest {

  private final Kernel kernel = Kernel.host();
  private final GuestMode mode = kernel.guestMode();
  private final AtomicInteger kicked = new AtomicInteger();

  @Test
  void kick_outsideTheGuest_returnsFalseAndAsksForNothing() {
    assertThat(mode.kickAndWait()).isFalse();

    mode.enter();
    assertThat(mode.isExitRequested()).isFalse();
    mode.leave();
    assertThat(mode.kickAndWait()).isFalse();
  }

  @Test
  void kick_insideTheGuest_waitsUntilTheVcpuLeaves() {
    mode.enter();
    KernelThread kicker = spawnKicker();
    Gate.awaitUntil(mode::isExitRequested, "the kick");
    assertThat(mode.isInGuest()).isTrue();
    assertThat(kicked).hasValue(0);

    mode.leave();
    kicker.join();

    assertThat(kicked).hasValue(1);
    assertThat(mode.isInGuest()).isFalse();
    assertThat(mode.isExitRequested()).isFalse();
  }

  @Test
  void kick_vcpuLeavesAndEntersAtOnce_isSatisfied() {
    mode.enter();
    KernelThread kicker = spawnKicker();
    Gate.awaitUntil(mode::isExitRequested, "the kick");

    mode.leave();
    mode.enter();
    kicker.join();

    assertThat(kicked).hasValue(1);
    assertThat(mode.isInGuest()).isTrue();
    assertThat(mode.isExitRequested()).isFalse();
  }

  @Test
  void kicks_fromTwoThreads_areSatisfiedByOneExit() {
    mode.enter();
    KernelThread a = spawnKicker();
    KernelThread b = spawnKicker();
    Gate.awaitUntil(mode::isExitRequested, "a kick");

    mode.leave();
    a.join();
    b.join();

    assertThat(kicked.get()).isBetween(1, 2);
  }

  @Test
  void enter_fromInside_isTheCallersMistake() {
    mode.enter();

    assertThatIllegalStateException()
        .isThrownBy(mode::enter)
        .withMessage("the vCPU is in the guest already");
  }

  private KernelThread spawnKicker() {
    return kernel.spawn(
        "kicker",
        () -> {
          if (mode.kickAndWait()) {
            kicked.incrementAndGet();
          }
        });
  }
}
