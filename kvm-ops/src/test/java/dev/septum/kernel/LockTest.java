package dev.septum.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import dev.septum.kernel.LockChecker.LockViolation;
import java.util.ArrayList;
import java.util.List;
import org.assertj.core.api.ThrowableTypeAssert;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Locks, and the checker that watches them. */
class LockTest {

  private final Kernel kernel = Kernel.host();
  private final RwLock mmuLock = kernel.rwLock(LockClass.MMU_LOCK);
  private final SpinLock cacheLock = kernel.spinLock(LockClass.PREALLOC_SPLIT_CACHE_LOCK);
  private final SpinLock pamtLock = kernel.spinLock(LockClass.PAMT_LOCK);
  private final Mutex kvmLock = kernel.mutex(LockClass.KVM_LOCK);
  private final Mutex slotsLock = kernel.mutex(LockClass.SLOTS_LOCK);

  @AfterEach
  void noneHeld() {
    kernel.locks().assertNoneHeld("the end of the test");
  }

  @Test
  void locks_inTheirOrder_areTaken() {
    kvmLock.lock();
    slotsLock.lock();
    mmuLock.lock(LockMode.EXCLUSIVE);
    cacheLock.lock();
    pamtLock.lock();

    kvmLock.assertHeld();
    slotsLock.assertHeld();
    mmuLock.assertHeld(LockMode.EXCLUSIVE);
    cacheLock.assertHeld();
    pamtLock.assertHeld();

    pamtLock.unlock();
    cacheLock.unlock();
    mmuLock.unlock(LockMode.EXCLUSIVE);
    slotsLock.unlock();
    kvmLock.unlock();
  }

  @Test
  void held_isWhatTheCallingThreadHolds() {
    assertThat(kernel.locks().held()).isEmpty();
    pamtLock.lock();
    pamtLock.unlock();
    mmuLock.lock(LockMode.SHARED);
    cacheLock.lock();

    assertThat(kernel.locks().held())
        .containsExactly(LockClass.MMU_LOCK, LockClass.PREALLOC_SPLIT_CACHE_LOCK);
    kernel.spawn("other", () -> assertThat(kernel.locks().held()).isEmpty()).join();

    cacheLock.unlock();
    mmuLock.unlock(LockMode.SHARED);
  }

  @Test
  void locks_mayBeReleasedInAnyOrder() {
    mmuLock.lock(LockMode.SHARED);
    pamtLock.lock();

    mmuLock.unlock(LockMode.SHARED);

    pamtLock.assertHeld();
    assertThat(mmuLock.isHeld(LockMode.SHARED)).isFalse();
    pamtLock.unlock();
  }

  @Test
  void spinLock_inWrongOrder_isAViolationAndNotTaken() {
    pamtLock.lock();

    assertViolation()
        .isThrownBy(cacheLock::lock)
        .withMessage("wrong lock order: taking prealloc_split_cache_lock while holding pamt_lock");

    assertViolation()
        .isThrownBy(cacheLock::assertHeld)
        .withMessage("prealloc_split_cache_lock is not held by this thread");
    pamtLock.unlock();
  }

  @Test
  void anyLock_takenTwice_isAViolation() {
    pamtLock.lock();
    mmuLockViolation(LockMode.SHARED, "pamt_lock");
    assertViolation()
        .isThrownBy(pamtLock::lock)
        .withMessage("wrong lock order: taking pamt_lock while holding pamt_lock");
    pamtLock.unlock();

    mmuLock.lock(LockMode.SHARED);
    mmuLockViolation(LockMode.SHARED, "mmu_lock (read)");
    mmuLockViolation(LockMode.EXCLUSIVE, "mmu_lock (read)");
    mmuLock.unlock(LockMode.SHARED);
  }

  @Test
  void twoLocksOfOneClass_areAViolation() {
    RwLock otherVms = kernel.rwLock(LockClass.MMU_LOCK);
    mmuLock.lock(LockMode.EXCLUSIVE);

    assertViolation()
        .isThrownBy(() -> otherVms.lock(LockMode.EXCLUSIVE))
        .withMessage("wrong lock order: taking mmu_lock while holding mmu_lock");

    mmuLock.unlock(LockMode.EXCLUSIVE);
  }

  @Test
  void wrongOrder_namesEverythingHeld() {
    mmuLock.lock(LockMode.SHARED);
    cacheLock.lock();
    kernel.rcu().readLock();

    assertViolation()
        .isThrownBy(slotsLock::lock)
        .withMessage(
            "wrong lock order: taking slots_lock while holding"
                + " prealloc_split_cache_lock, mmu_lock (read), rcu_read_lock");

    kernel.rcu().readUnlock();
    cacheLock.unlock();
    mmuLock.unlock(LockMode.SHARED);
  }

  @Test
  void mutex_insideAnRcuSection_isAViolation() {
    kernel.rcu().readLock();

    assertViolation()
        .isThrownBy(slotsLock::lock)
        .withMessage(
            "sleeping function called from atomic context:"
                + " taking slots_lock while holding rcu_read_lock");

    kernel.rcu().readUnlock();
  }

  @Test
  void sleeping_underASpinningLock_isAViolation() {
    mmuLock.lock(LockMode.SHARED);

    assertViolation()
        .isThrownBy(() -> kernel.locks().mightSleep("waiting for a page"))
        .withMessage(
            "sleeping function called from atomic context:"
                + " waiting for a page while holding mmu_lock (read)");

    mmuLock.unlock(LockMode.SHARED);
  }

  @Test
  void sleeping_underMutexes_isAllowed() {
    kvmLock.lock();
    slotsLock.lock();

    kernel.locks().mightSleep("waiting for a page");

    slotsLock.unlock();
    kvmLock.unlock();
  }

  @Test
  void unlock_ofWhatIsNotHeld_isAViolation() {
    assertViolation()
        .isThrownBy(pamtLock::unlock)
        .withMessage(
            "releasing pamt_lock, which this thread does not hold for write; it holds nothing");
    assertViolation().isThrownBy(() -> mmuLock.unlock(LockMode.EXCLUSIVE));
  }

  @Test
  void unlock_inTheOtherMode_isAViolationAndKeepsTheLock() {
    mmuLock.lock(LockMode.SHARED);

    assertViolation()
        .isThrownBy(() -> mmuLock.unlock(LockMode.EXCLUSIVE))
        .withMessage(
            "releasing mmu_lock, which this thread does not hold for write;"
                + " it holds mmu_lock (read)");

    assertThat(mmuLock.isHeld(LockMode.SHARED)).isTrue();
    mmuLock.unlock(LockMode.SHARED);
  }

  @Test
  void unlock_ofAnotherThreadsLock_isAViolation() {
    pamtLock.lock();
    kernel.spawn("other", () -> assertViolation().isThrownBy(pamtLock::unlock)).join();
    pamtLock.assertHeld();
    pamtLock.unlock();
  }

  @Test
  void assertNoneHeld_namesTheLocksAndThePlace() {
    slotsLock.lock();
    mmuLock.lock(LockMode.EXCLUSIVE);

    assertViolation()
        .isThrownBy(() -> kernel.locks().assertNoneHeld("return to user space"))
        .withMessage("lock held at return to user space: mmu_lock, slots_lock");

    mmuLock.unlock(LockMode.EXCLUSIVE);
    slotsLock.unlock();
  }

  @Test
  void assertHeld_tellsTheModesApart() {
    assertViolation()
        .isThrownBy(() -> mmuLock.assertHeld())
        .withMessage("mmu_lock is not held by this thread");
    mmuLock.lock(LockMode.SHARED);
    mmuLock.assertHeld();
    mmuLock.assertHeld(LockMode.SHARED);
    assertViolation()
        .isThrownBy(() -> mmuLock.assertHeld(LockMode.EXCLUSIVE))
        .withMessage("mmu_lock is not held for write");
    mmuLock.unlock(LockMode.SHARED);
    mmuLock.lock(LockMode.EXCLUSIVE);
    mmuLock.assertHeld();
    assertViolation()
        .isThrownBy(() -> mmuLock.assertHeld(LockMode.SHARED))
        .withMessage("mmu_lock is not held for read");
    mmuLock.unlock(LockMode.EXCLUSIVE);
  }

  @Test
  void isHeld_isAboutTheCallingThread() {
    mmuLock.lock(LockMode.EXCLUSIVE);
    kernel.spawn("other", () -> assertThat(mmuLock.isHeld(LockMode.EXCLUSIVE)).isFalse()).join();
    mmuLock.unlock(LockMode.EXCLUSIVE);
  }

  @Test
  void needBreak_isTrueWhileAWriterWaitsForAReader() {
    mmuLock.lock(LockMode.SHARED);
    assertThat(mmuLock.needBreak()).isFalse();
    KernelThread writer = spawnHolder(LockMode.EXCLUSIVE);
    Gate.awaitUntil(mmuLock::needBreak, "a writer that waits");

    mmuLock.unlock(LockMode.SHARED);
    writer.join();

    assertThat(mmuLock.needBreak()).isFalse();
  }

  @Test
  void needBreak_isTrueWhileAReaderWaitsForAWriter() {
    mmuLock.lock(LockMode.EXCLUSIVE);
    assertThat(mmuLock.needBreak()).isFalse();
    KernelThread reader = spawnHolder(LockMode.SHARED);
    Gate.awaitUntil(mmuLock::needBreak, "a reader that waits");

    mmuLock.unlock(LockMode.EXCLUSIVE);
    reader.join();
  }

  @Test
  void readers_shareTheLock() {
    mmuLock.lock(LockMode.SHARED);
    spawnHolder(LockMode.SHARED).join();
    mmuLock.unlock(LockMode.SHARED);
  }

  @Test
  void writers_excludeEachOther() {
    int[] plain = {0};
    List<KernelThread> threads = new ArrayList<>();
    for (int t = 0; t < 4; t++) {
      threads.add(
          kernel.spawn(
              "writer " + t,
              () -> {
                for (int i = 0; i < 1000; i++) {
                  mmuLock.lock(LockMode.EXCLUSIVE);
                  plain[0]++;
                  mmuLock.unlock(LockMode.EXCLUSIVE);
                }
              }));
    }
    threads.forEach(KernelThread::join);

    assertThat(plain[0]).isEqualTo(4000);
  }

  @Test
  void lockClasses_areOrderedAndNamedAsInTheKernel() {
    assertThat(LockClass.values())
        .extracting(LockClass::kernelName)
        .containsExactly(
            "kvm_lock",
            "slots_lock",
            "gmem_invalidate_lock",
            "gmem_folio_lock",
            "mmu_lock",
            "tdp_mmu_pages_lock",
            "external_table_lock",
            "prealloc_split_cache_lock",
            "pamt_lock");
    assertThat(LockClass.values())
        .filteredOn(LockClass::mayHolderSleep)
        .containsExactly(
            LockClass.KVM_LOCK,
            LockClass.SLOTS_LOCK,
            LockClass.GMEM_INVALIDATE_LOCK,
            LockClass.GMEM_FOLIO_LOCK);
  }

  private KernelThread spawnHolder(LockMode mode) {
    return kernel.spawn(
        mode + " holder",
        () -> {
          mmuLock.lock(mode);
          mmuLock.unlock(mode);
        });
  }

  private void mmuLockViolation(LockMode mode, String held) {
    assertViolation()
        .isThrownBy(() -> mmuLock.lock(mode))
        .withMessage("wrong lock order: taking mmu_lock while holding %s", held);
  }

  private static ThrowableTypeAssert<LockViolation> assertViolation() {
    return assertThatExceptionOfType(LockViolation.class);
  }
}
