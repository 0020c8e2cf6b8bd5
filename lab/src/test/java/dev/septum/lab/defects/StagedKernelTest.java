package dev.septum.lab.defects;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.kernel.GuestMode;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.RwLock;
import dev.septum.kernel.SpinLock;
import dev.septum.lab.run.HookedKernel;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class StagedKernelTest {

  private final StagedKernel kernel = new StagedKernel();
  private final List<String> events = new ArrayList<>();

  @Test
  void before_runsOnceBeforeALockOfTheClassIsTaken() {
    SpinLock pamtLock = kernel.spinLock(LockClass.PAMT_LOCK);
    RwLock mmuLock = kernel.rwLock(LockClass.MMU_LOCK);
    kernel.before(LockClass.PAMT_LOCK, () -> events.add("holds " + kernel.locks().held()));
    kernel.before(LockClass.MMU_LOCK, () -> events.add("holds " + kernel.locks().held()));

    mmuLock.lock(LockMode.EXCLUSIVE);
    pamtLock.lock();
    pamtLock.unlock();
    pamtLock.lock();
    pamtLock.unlock();
    mmuLock.unlock(LockMode.EXCLUSIVE);

    assertThat(events).containsExactly("holds []", "holds [MMU_LOCK]");
  }

  @Test
  void afterRelease_runsOnceAfterTheNthReleaseOfTheClass() {
    RwLock mmuLock = kernel.rwLock(LockClass.MMU_LOCK);
    kernel.afterRelease(LockClass.MMU_LOCK, 2, () -> events.add("holds " + kernel.locks().held()));

    for (LockMode mode : List.of(LockMode.SHARED, LockMode.EXCLUSIVE, LockMode.SHARED)) {
      mmuLock.lock(mode);
      events.add(mode.name());
      mmuLock.unlock(mode);
    }

    assertThat(events).containsExactly("SHARED", "EXCLUSIVE", "holds []", "SHARED");
  }

  @Test
  void insideNextTable_runsForTheNextTableOnly() {
    kernel.insideNextTable(() -> events.add("table"));

    kernel.entryTable(0, 0);
    kernel.entryTable(0, 0);

    assertThat(events).containsExactly("table");
  }

  @Test
  void atKick_runsForEveryKick() {
    GuestMode vcpu = kernel.guestMode();
    kernel.atKick(() -> events.add("kick"));

    assertThat(vcpu.kickAndWait()).isFalse();
    assertThat(vcpu.kickAndWait()).isFalse();

    assertThat(events).containsExactly("kick", "kick");
  }

  @Test
  void boundRounds_endsALoopOfEntriesAndReschedulings() {
    GuestMode vcpu = kernel.guestMode();
    kernel.boundRounds(2);
    vcpu.enter();
    vcpu.leave();
    kernel.condResched();

    assertThatThrownBy(vcpu::enter)
        .isInstanceOf(HookedKernel.EndlessRetry.class)
        .hasMessage("2 rounds without progress");
    assertThat(vcpu.isInGuest()).isFalse();
    assertThatThrownBy(kernel::condResched).isInstanceOf(HookedKernel.EndlessRetry.class);
  }
}
