package dev.septum.bench;

import dev.septum.kernel.Kernel;
import java.util.concurrent.TimeUnit;
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
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/** A TD's page fault and the zap of what it mapped, on the host runtime. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(2)
@Warmup(iterations = 5, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 500, timeUnit = TimeUnit.MILLISECONDS)
public class FaultBenchmark {

  /** What was used before. */
  @Param public Runtimes runtimes = Runtimes.HOST_ONLY;

  @SuppressWarnings("NullAway.Init")
  private FaultLoop loop;

  /** Boots the TD; says how many points a fault and its zap have. */
  @Setup(Level.Trial)
  public void boot() {
    if (runtimes == Runtimes.BOTH) {
      System.out.printf("%nscheduling points of a fault and its zap: %s%n", FaultLoop.points());
    }
    runtimes.use();
    loop = new FaultLoop(Kernel.host());
  }

  /** Takes the TD down. */
  @TearDown(Level.Trial)
  public void close() {
    loop.close();
  }

  /** One private fault, and the hole that is punched where it mapped a page. */
  @Benchmark
  public void faultAndZap() {
    loop.faultAndZap();
  }
}
