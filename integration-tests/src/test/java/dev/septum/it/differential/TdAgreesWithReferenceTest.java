package dev.septum.it.differential;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.reference.ReferenceOps;
import dev.septum.mmu.SplitCause;
import java.util.EnumMap;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A TD has mapped what a VM of the reference backend has, whatever guest and VMM do. What is drawn
 * follows from the seed: {@code -Dseptum.differential.seed=N} begins with another one.
 */
final class TdAgreesWithReferenceTest {

  private static final long SEED = Long.getLong("septum.differential.seed", 1);

  /**
   * Operations in the life of one VM. A 2M range has a 2M leaf only until it has a table of 4K
   * entries, which stays as long as the VM does, so a long life would see few splits.
   */
  private static final int LIFE = 500;

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void tenThousandOperations_leaveTheSame(boolean nonBlockingResize) {
    Map<SplitCause, Long> splits = lives(nonBlockingResize, 20);
    for (SplitCause cause :
        new SplitCause[] {
          SplitCause.GUEST_ACCEPT,
          SplitCause.MEMORY_ATTRIBUTES,
          SplitCause.PUNCH_HOLE,
          SplitCause.EAGER
        }) {
      assertThat(splits.get(cause)).as("splits for " + cause).isPositive();
    }
  }

  @Tag("long")
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void halfAMillionOperations_leaveTheSame(boolean nonBlockingResize) {
    lives(nonBlockingResize, 1000);
  }

  /** Lives so many lives, with a seed each; how many splits there were. */
  private static Map<SplitCause, Long> lives(boolean nonBlockingResize, int count) {
    long start = System.nanoTime();
    Map<SplitCause, Long> splits = new EnumMap<>(SplitCause.class);
    for (int i = 0; i < count; i++) {
      try (Side reference = new ReferenceSide();
          Side td = new TdSide(nonBlockingResize)) {
        new DifferentialRun(SEED + i, reference, td).run(LIFE);
        for (SplitCause cause : SplitCause.values()) {
          splits.merge(cause, reference.mmu().splits().get(cause), Long::sum);
        }
      }
    }
    System.out.printf(
        "tdx and reference agree: %d operations, NON_BLOCKING_RESIZE %b, seeds %d to %d, %d ms, splits"
            + " %s%n",
        count * LIFE,
        nonBlockingResize,
        SEED,
        SEED + count - 1,
        (System.nanoTime() - start) / 1_000_000,
        splits);
    return splits;
  }

  @Test
  void aRemovalThatIsForgotten_isFound() {
    Side reference = new ReferenceSide(new ForgetfulOps());
    Side td = new TdSide(true);
    DifferentialRun run = new DifferentialRun(7, reference, td);
    assertThatExceptionOfType(Disagreement.class)
        .isThrownBy(() -> run.run(20 * LIFE))
        .withMessageMatching(
            "(?s)seed 7, operation \\d+: gfn 0x[0-9a-f]+\\R"
                + "  reference: \\w+; EXTERNAL gfn 0x[^\\n]*\\R"
                + "  tdx: \\w+; not mapped\\R"
                + "last operations:\\R.*");
  }

  /** Forgets one removal in a thousand. */
  private static final class ForgetfulOps extends ReferenceOps {
    private int removals;

    @Override
    public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte) {
      if (++removals % 1000 != 0) {
        super.removeExternalSpte(kvm, gfn, level, oldMirrorSpte);
      }
    }
  }
}
