package dev.septum.lab.run;

import dev.septum.kernel.ForwardingGuestMode;
import dev.septum.kernel.ForwardingKernel;
import dev.septum.kernel.ForwardingRwLock;
import dev.septum.kernel.ForwardingSpinLock;
import dev.septum.kernel.GuestMode;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.Mutex;
import dev.septum.kernel.RwLock;
import dev.septum.kernel.SharedWord;
import dev.septum.kernel.SpinLock;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * A host kernel in which things happen where a lock is about to be taken, and in which a loop
 * without end is ended.
 */
public class HookedKernel extends ForwardingKernel {

  /** Rounds that a step may take: entries of a guest, and faults taken again. */
  private static final long MANY_ROUNDS = 100_000;

  /** What happens at the {@code due}th taking from now on, and at {@code times} in all. */
  private record Hook(int due, int times, Runnable body) {}

  /** A loop that does not end by itself. */
  public static final class EndlessRetry extends Error {
    private static final long serialVersionUID = 1L;

    private EndlessRetry(long rounds) {
      super(rounds + " rounds without progress");
    }
  }

  private final Map<LockClass, List<Hook>> hooks = new ConcurrentHashMap<>();

  /** Null on a kernel with bounds of its own, where a word that all threads write is in the way. */
  private final @Nullable SharedWord roundsLeft;

  private volatile long bound = Long.MAX_VALUE;

  /** A host kernel in which nothing happens yet. */
  public HookedKernel() {
    this(Kernel.host(), true);
  }

  /** The same of a kernel that bounds its threads itself. */
  HookedKernel(Kernel kernel) {
    this(kernel, false);
  }

  private HookedKernel(Kernel kernel, boolean boundsRounds) {
    super(kernel);
    this.roundsLeft = boundsRounds ? kernel.word(Long.MAX_VALUE) : null;
  }

  /**
   * Runs {@code body} on the thread that is about to take a lock of this class. Hooks are not run
   * inside hooks of the same class.
   */
  public final void before(LockClass lockClass, int due, int times, Runnable body) {
    hooks.merge(
        lockClass,
        List.of(new Hook(due, times, body)),
        (present, added) -> {
          List<Hook> all = new ArrayList<>(present);
          all.addAll(added);
          return all;
        });
  }

  /** Forgets every hook. */
  public final void clearHooks() {
    hooks.clear();
  }

  /** From now on, as many rounds are let go by: entries of a guest, and faults taken again. */
  public final void boundRounds(long rounds) {
    bound = rounds;
    if (roundsLeft != null) {
      roundsLeft.set(rounds);
    }
  }

  /** From now on there is patience for a new step. */
  final void beginStep() {
    boundRounds(MANY_ROUNDS);
  }

  private void round() {
    if (roundsLeft != null && roundsLeft.addAndGet(-1) < 0) {
      throw new EndlessRetry(bound);
    }
  }

  private void about(LockClass lockClass) {
    if (!hooks.containsKey(lockClass)) {
      return;
    }
    List<Hook> taken = hooks.remove(lockClass);
    List<Hook> left = new ArrayList<>();
    for (Hook hook : taken == null ? List.<Hook>of() : taken) {
      if (hook.due > 1) {
        left.add(new Hook(hook.due - 1, hook.times, hook.body));
        continue;
      }
      hook.body.run();
      if (hook.times > 1) {
        left.add(new Hook(1, hook.times - 1, hook.body));
      }
    }
    for (Hook hook : left) {
      before(lockClass, hook.due, hook.times, hook.body);
    }
  }

  @Override
  public RwLock rwLock(LockClass lockClass) {
    return new ForwardingRwLock(super.rwLock(lockClass)) {
      @Override
      public void lock(LockMode mode) {
        about(lockClass);
        super.lock(mode);
      }
    };
  }

  @Override
  public SpinLock spinLock(LockClass lockClass) {
    return new ForwardingSpinLock(super.spinLock(lockClass)) {
      @Override
      public void lock() {
        about(lockClass);
        super.lock();
      }
    };
  }

  @Override
  public Mutex mutex(LockClass lockClass) {
    Mutex mutex = super.mutex(lockClass);
    return new Mutex() {
      @Override
      public void lock() {
        about(lockClass);
        mutex.lock();
      }

      @Override
      public void unlock() {
        mutex.unlock();
      }

      @Override
      public void assertHeld() {
        mutex.assertHeld();
      }
    };
  }

  @Override
  public GuestMode guestMode() {
    return new ForwardingGuestMode(super.guestMode()) {
      @Override
      public void enter() {
        round();
        super.enter();
      }
    };
  }

  @Override
  public void condResched() {
    round();
    super.condResched();
  }
}
