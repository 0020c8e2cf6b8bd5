package dev.septum.kvm;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.SpinLock;
import dev.septum.kernel.schedule.Exploration;
import dev.septum.kvm.Breach.Kind;
import java.util.function.Consumer;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/** Backends that break the contract: the VM is bugged, the report names them, others go on. */
@SuppressWarnings("NullAway") // A backend that returns null is what this is about.
class GuardedOpsTest {

  private static final PageLevel LEVEL = PageLevel.LEVEL_2M;

  /** A backend whose set op does something. */
  private static final class Foreign implements KvmX86Ops {
    private final Function<Kvm, Errno> set;

    Foreign(Function<Kvm, Errno> set) {
      this.set = set;
    }

    @Override
    public String name() {
      return "foreign";
    }

    @Override
    public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
      return set.apply(kvm);
    }
  }

  private static void onBothRuntimes(Consumer<Kernel> body) {
    body.accept(Kernel.host());
    assertThat(Exploration.of(body::accept).exhaustive().failures()).isEmpty();
  }

  /** Calls set as KVM does: it fails with EIO, the VM is bugged, and the locks are as before. */
  private static void assertBreach(Kind kind, String text, Function<Kvm, Errno> set) {
    onBothRuntimes(
        kernel -> {
          Kvm kvm = new TestKvm(kernel, new Foreign(set));
          kvm.mmuLock().lock(LockMode.SHARED);
          kernel.rcu().readLock();
          assertThat(kvm.ops().setExternalSpte(kvm, 0x200, LEVEL, 1)).isEqualTo(Errno.EIO);
          kernel.rcu().readUnlock();
          kvm.mmuLock().unlock(LockMode.SHARED);
          kernel.locks().assertNoneHeld("the end");
          assertThat(kvm.breach())
              .isEqualTo(
                  new Breach(
                      kind, "backend foreign: set_external_spte of gfn 0x200 level 2 " + text));
          assertThat(kvm.splat().expression()).isEqualTo(kvm.breach().text());
        });
  }

  @Test
  void anOpThatThrows_isReportedWithWhereItThrew() {
    assertBreach(
        Kind.THROWS,
        "threw java.lang.ArithmeticException: / by zero",
        kvm -> {
          throw new ArithmeticException("/ by zero");
        });
    Kvm kvm =
        new TestKvm(
            Kernel.host(),
            new Foreign(
                vm -> {
                  throw new IllegalStateException("x");
                }));
    kvm.mmuLock().lock(LockMode.SHARED);
    kvm.ops().setExternalSpte(kvm, 0, LEVEL, 1);
    kvm.mmuLock().unlock(LockMode.SHARED);
    assertThat(kvm.splat().where()).startsWith("GuardedOpsTest.lambda$");
  }

  @Test
  void aResultThatKvmDoesNotKnow_isReported() {
    assertBreach(Kind.RESULT, "returned null", kvm -> null);
    assertBreach(
        Kind.RESULT,
        "returned EPERM, which is none of [OK, EIO, EAGAIN, ENOMEM, EBUSY]",
        kvm -> Errno.EPERM);
  }

  @Test
  void locksThatAreKept_areReleased() {
    assertBreach(
        Kind.HELD_LOCKS,
        "left pamt_lock held",
        kvm -> {
          kvm.kernel().spinLock(LockClass.PAMT_LOCK).lock();
          return Errno.OK;
        });
    assertBreach(
        Kind.HELD_LOCKS,
        "left RCU read sections unbalanced",
        kvm -> {
          kvm.kernel().rcu().readLock();
          return Errno.OK;
        });
  }

  @Test
  void locksOfTheCaller_areTakenAgain() {
    assertBreach(
        Kind.HELD_LOCKS,
        "released mmu_lock (read), which its caller held",
        kvm -> {
          kvm.mmuLock().unlock(LockMode.SHARED);
          return Errno.OK;
        });
    assertBreach(
        Kind.HELD_LOCKS,
        "left RCU read sections unbalanced",
        kvm -> {
          kvm.kernel().rcu().readUnlock();
          return Errno.OK;
        });
  }

  @Test
  void rulesOnLocks_areReportedAsTheBackends() {
    assertBreach(
        Kind.SLEEPS,
        "broke a rule on locks: sleeping function called from atomic context: allocating a"
            + " page for pamt_cache while holding mmu_lock (read), rcu_read_lock",
        kvm -> {
          kvm.pages().allocPage(PageOwner.PAMT_CACHE, Gfp.KERNEL);
          return Errno.OK;
        });
    assertBreach(
        Kind.LOCK_RULE,
        "broke a rule on locks: wrong lock order: taking external_table_lock while holding"
            + " pamt_lock, mmu_lock (read), rcu_read_lock",
        kvm -> {
          SpinLock inner = kvm.kernel().spinLock(LockClass.PAMT_LOCK);
          inner.lock();
          kvm.kernel().spinLock(LockClass.EXTERNAL_TABLE_LOCK).lock();
          return Errno.OK;
        });
  }

  @Test
  void aPageOfSomebodyElse_isNotTaken() {
    onBothRuntimes(
        kernel -> {
          long[] page = {0};
          TestKvm kvm =
              new TestKvm(
                  kernel,
                  new KvmX86Ops() {
                    @Override
                    public String name() {
                      return "foreign";
                    }

                    @Override
                    public long allocExternalFaultCache(Vcpu vcpu) {
                      return page[0];
                    }
                  });
          Vcpu vcpu = kvm.newVcpu();
          page[0] = kvm.pages().allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.KERNEL);
          assertThat(kvm.ops().allocExternalFaultCache(vcpu)).isEqualTo(page[0]);
          assertThat(kvm.isBugged()).isFalse();
          page[0] = 1L << 40;
          assertThat(kvm.ops().allocExternalFaultCache(vcpu)).isEqualTo(PageAllocator.NO_PAGE);
          assertThat(kvm.breach())
              .isEqualTo(
                  new Breach(
                      Kind.RESULT,
                      "backend foreign: alloc_external_fault_cache returned pfn 0x10000000000, a"
                          + " page of no host"));
        });
  }

  @Test
  void anotherVm_goesOn() {
    Kernel kernel = Kernel.host();
    Kvm bugged = new TestKvm(kernel, new Foreign(kvm -> null));
    Kvm sound = new TestKvm(kernel, new Foreign(kvm -> Errno.OK));
    for (Kvm kvm : new Kvm[] {bugged, sound}) {
      kvm.mmuLock().lock(LockMode.SHARED);
      kvm.ops().setExternalSpte(kvm, 0, LEVEL, 1);
      kvm.mmuLock().unlock(LockMode.SHARED);
    }
    assertThat(bugged.isBugged()).isTrue();
    assertThat(sound.isBugged()).isFalse();
    assertThat(sound.breach()).isNull();
  }
}
