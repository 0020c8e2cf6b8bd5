package dev.septum.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockChecker.LockViolation;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.schedule.Exploration;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Ops that are called without the lock that their documentation demands. */
class OpsLockTest {

  /** A call of an op on a VM with one vCPU. */
  private interface Call {
    void on(KvmX86Ops ops, Kvm kvm);
  }

  private static Named<Call> call(String name, Call call) {
    return Named.of(name, call);
  }

  static Stream<Named<Call>> underTheReadLock() {
    PageLevel level = PageLevel.LEVEL_2M;
    return Stream.of(
        call("link_external_spt", (ops, kvm) -> ops.linkExternalSpt(kvm, 0, level, 1)),
        call("set_external_spte", (ops, kvm) -> ops.setExternalSpte(kvm, 0, level, 1)),
        call(
            "split_external_spte",
            (ops, kvm) -> ops.splitExternalSpte(kvm, 0, level, 1, 1, LockMode.SHARED)));
  }

  static Stream<Named<Call>> underTheWriteLock() {
    PageLevel level = PageLevel.LEVEL_2M;
    return Stream.of(
        call(
            "split_external_spte",
            (ops, kvm) -> ops.splitExternalSpte(kvm, 0, level, 1, 1, LockMode.EXCLUSIVE)),
        call("remove_external_spte", (ops, kvm) -> ops.removeExternalSpte(kvm, 0, level, 1)),
        call("free_external_spt", (ops, kvm) -> ops.freeExternalSpt(kvm, 0, level, 1)));
  }

  static Stream<Named<Call>> mayNotBeAtomic() {
    PageLevel level = PageLevel.LEVEL_2M;
    return Stream.of(
        call(
            "topup_external_fault_cache",
            (ops, kvm) -> ops.topupExternalFaultCache(kvm.vcpus().get(0), 1)),
        call(
            "topup_external_per_vm_split_cache",
            (ops, kvm) -> ops.topupExternalPerVmSplitCache(kvm, level)));
  }

  private static void inBothRuntimes(Consumer<TestKvm> body) {
    Consumer<Kernel> run =
        kernel -> {
          TestKvm kvm = new TestKvm(kernel);
          kvm.newVcpu();
          body.accept(kvm);
        };
    run.accept(Kernel.host());
    assertThat(Exploration.of(run::accept).exhaustive().failures()).isEmpty();
  }

  private static LockViolation violation(Call call, Kvm kvm) {
    return catchThrowableOfType(LockViolation.class, () -> call.on(kvm.ops(), kvm));
  }

  private static void under(LockMode mode, Kvm kvm, Runnable body) {
    kvm.mmuLock().lock(mode);
    body.run();
    kvm.mmuLock().unlock(mode);
  }

  @ParameterizedTest
  @MethodSource("underTheReadLock")
  void opUnderTheReadLock_isReportedWithoutIt(Call call) {
    inBothRuntimes(
        kvm -> {
          LockViolation violation = violation(call, kvm);
          assertThat(violation).hasMessage("mmu_lock is not held for read");
          assertThat(violation.report())
              .contains("WARNING: lockdep_assert_held(mmu_lock)")
              .contains("does not hold lock (mmu_lock) for read, at:\n  GuardedOps.")
              .contains("no locks held by ");
          under(LockMode.EXCLUSIVE, kvm, () -> assertThat(violation(call, kvm)).isNotNull());
          under(LockMode.SHARED, kvm, () -> assertThat(violation(call, kvm)).isNull());
        });
  }

  @ParameterizedTest
  @MethodSource("underTheWriteLock")
  void opUnderTheWriteLock_isReportedWithoutIt(Call call) {
    inBothRuntimes(
        kvm -> {
          assertThat(violation(call, kvm)).hasMessage("mmu_lock is not held for write");
          kvm.kernel().locks().recordStacks();
          under(
              LockMode.SHARED,
              kvm,
              () ->
                  assertThat(violation(call, kvm).report())
                      .contains("1 lock held by ")
                      .contains(" #0: (mmu_lock (read)), at:\n  OpsLockTest.under+"));
          under(LockMode.EXCLUSIVE, kvm, () -> assertThat(violation(call, kvm)).isNull());
        });
  }

  @ParameterizedTest
  @MethodSource("mayNotBeAtomic")
  void opThatMaySleep_isReportedUnderASpinningLock(Call call) {
    inBothRuntimes(
        kvm -> {
          assertThat(violation(call, kvm)).isNull();
          under(
              LockMode.SHARED,
              kvm,
              () ->
                  assertThat(violation(call, kvm).report())
                      .contains("BUG: sleeping function called from invalid context"));
        });
  }

  @Test
  void needTopup_isReportedWithoutAnyMmuLock() {
    Call needTopup = (ops, kvm) -> ops.needTopupExternalPerVmSplitCache(kvm, PageLevel.LEVEL_2M);
    inBothRuntimes(
        kvm -> {
          assertThat(violation(needTopup, kvm)).hasMessage("mmu_lock is not held by this thread");
          for (LockMode mode : LockMode.values()) {
            under(mode, kvm, () -> assertThat(violation(needTopup, kvm)).isNull());
          }
        });
  }
}
