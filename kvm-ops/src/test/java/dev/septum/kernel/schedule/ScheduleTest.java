package dev.septum.kernel.schedule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.SharedWord;
import java.util.List;
import java.util.TreeSet;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/** Schedules: chosen the same way every time, written, read back and replayed. */
class ScheduleTest {

  private static final Program LOST_UPDATE = ClassicProtocolsTest::lostUpdate;

  /** Two threads, one of which has something that may fail between its steps. */
  private static void failing(ScheduledKernel kernel) {
    SharedWord word = kernel.word(0);
    KernelThread a =
        kernel.spawn(
            "a",
            () -> {
              word.set(1);
              if (kernel.mayFail("allocation")) {
                word.set(2);
              }
            });
    KernelThread b = kernel.spawn("b", () -> assertThat(word.get()).isNotEqualTo(2));
    a.join();
    b.join();
  }

  private static ExplorationResult.Failure failure(ExplorationResult result) {
    assertThat(result.failures()).hasSize(1);
    return result.failures().get(0);
  }

  @Test
  void everyStrategy_choosesTheSameOnEveryCarrierAndInEveryRun() {
    List<Function<Exploration, ExplorationResult>> strategies =
        List.of(
            Exploration::exhaustive,
            Exploration::everyInterleaving,
            exploration -> exploration.preemptionBounded(1),
            exploration -> exploration.random(5),
            exploration -> exploration.pct(5, 3));
    for (Function<Exploration, ExplorationResult> strategy : strategies) {
      Exploration bounded = Exploration.of(ScheduleTest::failing).mostFailures(1);
      Exploration exploration = bounded.mostSchedules(200);
      ExplorationResult first = strategy.apply(exploration.on(Carrier.PLATFORM));
      assertThat(strategy.apply(exploration.on(Carrier.PLATFORM))).isEqualTo(first);
      assertThat(strategy.apply(exploration.on(Carrier.best()))).isEqualTo(first);
      assertThat(first.failures()).as(first.strategy()).hasSize(1);
    }
  }

  @Test
  void bestCarrier_isVirtualFromJdk24On() {
    boolean usable = Runtime.version().feature() >= 24;
    assertThat(Carrier.VIRTUAL.isUsable()).isEqualTo(usable);
    assertThat(Carrier.best()).isEqualTo(usable ? Carrier.VIRTUAL : Carrier.PLATFORM);
  }

  @Test
  void replay_ofAFailure_failsForTheSameCauseWithTheSameSchedule() {
    ExplorationResult.Failure found = failure(Exploration.of(LOST_UPDATE).exhaustive());

    ExplorationResult.Failure again = failure(Exploration.of(LOST_UPDATE).replay(found.schedule()));

    assertThat(again.finding()).isEqualTo(found.finding());
    assertThat(again.schedule()).isEqualTo(found.schedule());
  }

  @Test
  void replay_ofAScheduleReadBackFromEitherText_isTheSame() {
    Exploration exploration = Exploration.of(ScheduleTest::failing).mostFailures(1);
    ExplorationResult.Failure found = failure(exploration.exhaustive());
    Schedule schedule = found.schedule();
    assertThat(schedule.toText()).contains("=1 allocation fails\n").contains("1 write word 2\n");

    assertThat(Schedule.parse(schedule.toText())).isEqualTo(schedule);
    assertThat(Schedule.parse(schedule.toString()).toString()).isEqualTo(schedule.toString());
    assertThat(failure(exploration.replay(Schedule.parse(schedule.toString()))).finding())
        .isEqualTo(found.finding());
  }

  @Test
  void replay_ofAThreadThatCannotGo_saysWhere() {
    ExplorationResult result = Exploration.of(LOST_UPDATE).replay(Schedule.parse("1 2 3"));

    Finding finding = failure(result).finding();
    assertThat(finding.kind()).isEqualTo(Finding.Kind.DIVERGENCE);
    assertThat(finding.report())
        .isEqualTo(
            "at choice 3 of 3 the schedule says \"3\", but the threads that can go are a/1, b/2");
  }

  @Test
  void replay_ofAnotherStep_saysWhichItIsNow() {
    Schedule schedule = Schedule.parse("# made elsewhere\n1 begin\n1 write word 2\n");
    assertThat(failure(Exploration.of(LOST_UPDATE).replay(schedule)).finding().report())
        .isEqualTo(
            "at choice 2 of 2 the schedule says \"1 write word 2\", but its step is now: read word"
                + " 2");
  }

  @Test
  void replay_ofAScheduleThatIsTooShortOrTooLong_saysSo() {
    assertThat(failure(Exploration.of(LOST_UPDATE).replay(Schedule.parse("1"))).finding().report())
        .isEqualTo("the schedule ends after 1 choices, and there is a thread to choose");
    Schedule sound = Schedule.parse("1x3 2x5");
    assertThat(failure(Exploration.of(LOST_UPDATE).replay(sound)).finding().report())
        .isEqualTo("the program ends before the schedule does");
  }

  @Test
  void parse_ofWhatIsNoSchedule_namesTheLine() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Schedule.parse("1 two"))
        .withMessage("\"two\" is not a choice of a schedule");
  }

  @Test
  void preemptionBound_0_missesWhat1Finds() {
    assertThat(Exploration.of(LOST_UPDATE).preemptionBounded(0).failures()).isEmpty();
    ExplorationResult.Failure found = failure(Exploration.of(LOST_UPDATE).preemptionBounded(1));
    assertThat(found.preemptions()).isEqualTo(1);
  }

  @Test
  void shrink_ofARandomFailure_givesTheFewestPreemptionsAndReplays() {
    Exploration exploration = Exploration.of(ScheduleTest::manySteps).mostSchedules(2_000);
    ExplorationResult.Failure found = failure(exploration.stopAtFirst().random(3));
    assertThat(found.preemptions()).isGreaterThan(1);

    ExplorationResult.Failure shrunk = exploration.shrink(found);

    assertThat(shrunk.preemptions()).isEqualTo(1);
    assertThat(shrunk.finding().isLike(found.finding())).isTrue();
    assertThat(failure(exploration.replay(shrunk.schedule())).finding())
        .isEqualTo(shrunk.finding());
  }

  @Test
  void shrink_ofTheShortest_isTheSame() {
    Exploration exploration = Exploration.of(LOST_UPDATE);
    ExplorationResult.Failure shortest = failure(exploration.preemptionBounded(1));
    assertThat(exploration.shrink(shortest)).isEqualTo(shortest);
  }

  /** A lost update between steps that have nothing to do with it. */
  private static void manySteps(ScheduledKernel kernel) {
    SharedWord word = kernel.word(0);
    Runnable body =
        () -> {
          SharedWord own = kernel.word(0);
          for (int i = 0; i < 4; i++) {
            own.set(i);
          }
          long seen = word.get();
          own.set(5);
          word.set(seen + 1);
        };
    KernelThread a = kernel.spawn("a", body);
    KernelThread b = kernel.spawn("b", body);
    a.join();
    b.join();
    assertThat(word.get()).as("increments").isEqualTo(2);
  }

  @Test
  void failures_areBoundedInNumber() {
    TreeSet<Integer> counts = new TreeSet<>();
    Program program =
        kernel -> {
          int failures = 0;
          for (int i = 0; i < 4; i++) {
            failures += kernel.mayFail("SEAMCALL") ? 1 : 0;
          }
          counts.add(failures);
        };

    ExplorationResult result = Exploration.of(program).mostFailures(2).exhaustive();

    assertThat(counts).containsExactly(0, 1, 2);
    // None, one of 4, two of 4.
    assertThat(result.schedules()).isEqualTo(1 + 4 + 6);
  }

  @Test
  void aProgramThatDependsOnMoreThanTheSchedule_isToldSo() {
    int[] runs = {0};
    Program program =
        kernel -> {
          SharedWord word = kernel.word(0);
          if (runs[0]++ > 0) {
            kernel.spawn("late", () -> word.set(3));
          }
          KernelThread a = kernel.spawn("a", () -> word.set(1));
          word.get();
          a.join();
        };

    assertThat(failure(Exploration.of(program).mostSchedules(5).exhaustive()).finding().report())
        .startsWith("the program did something else than before under the same schedule");
  }

  @Test
  void aBoundOnTheRuns_isReportedAsABound() {
    ExplorationResult result = Exploration.of(LOST_UPDATE).mostSchedules(2).everyInterleaving();
    assertThat(result.isComplete()).isFalse();
    assertThat(result.schedules()).isEqualTo(2);
    assertThat(result.toString()).contains("2 schedules, 0 pruned").contains("bounded");
  }

  @Test
  void random_printsItsSeed() {
    assertThat(Exploration.of(LOST_UPDATE).mostSchedules(50).random(77).toString())
        .startsWith("random, seed 77: 50 schedules");
  }

  @Test
  void show_listsEveryStepAndNoteOfEachThreadInOrder() {
    Program noting =
        kernel -> {
          SharedWord word = kernel.word(0);
          KernelThread a =
              kernel.spawn(
                  "a",
                  () -> {
                    kernel.note("about to write");
                    word.set(1);
                  });
          kernel.note("reading");
          long seen = word.get();
          a.join();
          kernel.outcome("saw " + seen);
          assertThat(kernel.keepsNotes()).isTrue();
        };

    RunTrace trace = Exploration.of(noting).show(Schedule.parse("1x2 0"));

    assertThat(trace.threads()).containsExactly("main", "a");
    assertThat(trace.lines())
        .containsExactly(
            new RunTrace.Line(0, false, "reading"),
            new RunTrace.Line(1, true, "begin"),
            new RunTrace.Line(1, false, "about to write"),
            new RunTrace.Line(1, true, "write word 2"),
            new RunTrace.Line(0, true, "read word 2"),
            new RunTrace.Line(0, true, "join thread a"));
    assertThat(trace.outcome()).isEqualTo("saw 1");
    assertThat(trace.finding()).isNull();
  }

  @Test
  void outcomes_areCountedAndEachHasAScheduleThatComesToIt() {
    Program racing =
        kernel -> {
          SharedWord word = kernel.word(0);
          KernelThread a = kernel.spawn("a", () -> word.compareAndSet(0, 1));
          KernelThread b = kernel.spawn("b", () -> word.compareAndSet(0, 2));
          a.join();
          b.join();
          kernel.outcome("won by " + word.get());
        };

    ExplorationResult result = Exploration.of(racing).exhaustive();

    assertThat(result.outcomes()).extracting("text").containsExactly("won by 1", "won by 2");
    assertThat(result.outcomes()).extracting("count").containsExactly(1L, 1L);
    for (ExplorationResult.Outcome outcome : result.outcomes()) {
      assertThat(Exploration.of(racing).show(outcome.schedule()).outcome())
          .isEqualTo(outcome.text());
    }
  }
}
