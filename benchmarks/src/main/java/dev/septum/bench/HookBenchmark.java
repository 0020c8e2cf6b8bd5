package dev.septum.bench;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockChecker;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PointKind;
import dev.septum.kernel.RwLock;
import dev.septum.kernel.SchedulingPoint;
import dev.septum.kernel.SharedWord;
import dev.septum.kernel.SpinLock;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.locks.ReentrantLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * The host runtime's primitives, each beside what it would be if there were no other runtime and no
 * lock checker: the plain class of java.util.concurrent.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Fork(2)
@Warmup(iterations = 3, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@SuppressWarnings("LockNotBeforeTry") // Nothing is done under the lock that could throw.
public class HookBenchmark {

  private static final int ENTRY = 77;

  /** What was used before. */
  @Param public Runtimes runtimes = Runtimes.HOST_ONLY;

  private final Kernel kernel = Kernel.host();
  private final SharedWord word = kernel.word(1);
  private final EntryTable table = kernel.entryTable(0, 1);
  private final RwLock mmuLock = kernel.rwLock(LockClass.MMU_LOCK);
  private final SpinLock spinLock = kernel.spinLock(LockClass.PAMT_LOCK);
  private final SchedulingPoint point = kernel.schedulingPoint("place");

  private final AtomicLong plainWord = new AtomicLong(1);
  private final AtomicLongArray plainTable = new AtomicLongArray(512);
  private final ReentrantReadWriteLock plainRwLock = new ReentrantReadWriteLock();
  private final ReentrantLock plainLock = new ReentrantLock();
  private long number;

  /** Lets the JVM see the runtimes. */
  @Setup(Level.Trial)
  public void useRuntimes() {
    runtimes.use();
  }

  /** Nothing but the loop and one addition, for comparison with {@link #point}. */
  @Benchmark
  public long pointPlain() {
    return ++number;
  }

  /** A scheduling point of the host runtime. */
  @Benchmark
  public long point() {
    point.reached(PointKind.ALLOCATE);
    return ++number;
  }

  @Benchmark
  public long wordGetPlain() {
    return plainWord.get();
  }

  @Benchmark
  public long wordGet() {
    return word.get();
  }

  @Benchmark
  public boolean wordCasPlain() {
    return plainWord.compareAndSet(1, 1);
  }

  @Benchmark
  public boolean wordCas() {
    return word.compareAndSet(1, 1);
  }

  @Benchmark
  public long entryGetPlain() {
    return plainTable.get(ENTRY);
  }

  @Benchmark
  public long entryGet() {
    return table.get(ENTRY);
  }

  @Benchmark
  public long entryCasPlain() {
    return plainTable.compareAndExchange(ENTRY, 0, 0);
  }

  @Benchmark
  public long entryCas() {
    return table.compareAndExchange(ENTRY, ENTRY, ENTRY);
  }

  @Benchmark
  public void readLockPlain() {
    plainRwLock.readLock().lock();
    plainRwLock.readLock().unlock();
  }

  /** With the lock checker. */
  @Benchmark
  public void readLock() {
    mmuLock.lock(LockMode.SHARED);
    mmuLock.unlock(LockMode.SHARED);
  }

  @Benchmark
  public void writeLockPlain() {
    plainRwLock.writeLock().lock();
    plainRwLock.writeLock().unlock();
  }

  /** With the lock checker. */
  @Benchmark
  public void writeLock() {
    mmuLock.lock(LockMode.EXCLUSIVE);
    mmuLock.unlock(LockMode.EXCLUSIVE);
  }

  @Benchmark
  public void spinLockPlain() {
    plainLock.lock();
    plainLock.unlock();
  }

  /** With the lock checker. */
  @Benchmark
  public void spinLock() {
    spinLock.lock();
    spinLock.unlock();
  }

  /** What the lock checker does for one lock that is taken and given up. */
  @Benchmark
  public void lockCheckerAlone() {
    LockChecker checker = kernel.locks();
    checker.beforeAcquire(LockClass.PAMT_LOCK);
    checker.acquired(plainLock, LockClass.PAMT_LOCK, LockMode.EXCLUSIVE);
    checker.released(plainLock, LockClass.PAMT_LOCK, LockMode.EXCLUSIVE);
  }
}
