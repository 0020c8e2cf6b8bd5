package dev.septum.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class FaultInjectorTest {

  private final FaultInjector faults = new FaultInjector();

  @Test
  void withoutRules_nothingFailsAndCallsAreCountedByPlace() {
    assertThat(calls("page", 3)).isEmpty();
    assertThat(calls("slab", 1)).isEmpty();

    assertThat(faults.callsAt("page")).isEqualTo(3);
    assertThat(faults.callsAt("slab")).isEqualTo(1);
    assertThat(faults.callsAt("elsewhere")).isZero();
    assertThat(faults.failures()).isZero();
  }

  @Test
  void failAt_countsFromTheVeryFirstCall() {
    calls("page", 2);
    faults.failAt("page", 2);
    faults.failAt("page", 4);

    assertThat(calls("page", 3)).containsExactly(4);
    assertThat(faults.failures()).isEqualTo(1);
  }

  @Test
  void failNext_countsFromNow() {
    calls("page", 5);
    faults.failNext("page", 1);
    faults.failNext("page", 3);

    assertThat(calls("page", 5)).containsExactly(6, 8);
  }

  @Test
  void failNext_isAboutItsPlaceOnly() {
    faults.failNext("page", 1);

    assertThat(calls("slab", 1)).isEmpty();
    assertThat(calls("page", 1)).containsExactly(1);
  }

  @Test
  void failAlways_failsUntilCleared() {
    faults.failAlways("page");
    assertThat(calls("page", 3)).containsExactly(1, 2, 3);
    assertThat(calls("slab", 1)).isEmpty();

    faults.clear();

    assertThat(calls("page", 2)).isEmpty();
    assertThat(faults.callsAt("page")).isEqualTo(5);
    assertThat(faults.failures()).isEqualTo(3);
  }

  @Test
  void failRandomly_isTheSameForTheSameSeed() {
    List<List<Integer>> runs = new ArrayList<>();
    for (long seed : List.of(42L, 42L, 43L)) {
      FaultInjector injector = new FaultInjector();
      injector.failRandomly(0.3, seed);
      runs.add(calls(injector, "page", 200));
    }

    assertThat(runs.get(1)).isEqualTo(runs.get(0));
    assertThat(runs.get(2)).isNotEqualTo(runs.get(0));
    assertThat(runs.get(0)).hasSizeBetween(20, 120);
  }

  @Test
  void failRandomly_theOutcomesOfADrawDoNotDependOnOtherRules() {
    FaultInjector alone = new FaultInjector();
    alone.failRandomly(0.3, 1);
    faults.failNext("page", 1);
    faults.failRandomly(0.3, 1);
    List<Integer> drawn = calls(alone, "page", 100);

    assertThat(calls("page", 100)).containsAll(drawn).contains(1);
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, 1})
  void failRandomly_certainties_areCertain(double probability) {
    faults.failRandomly(probability, 0);

    assertThat(calls("page", 50)).hasSize(probability == 0 ? 0 : 50);
  }

  @ParameterizedTest
  @ValueSource(doubles = {-0.1, 1.1, Double.NaN})
  void failRandomly_noProbability_isTheCallersMistake(double probability) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> faults.failRandomly(probability, 0))
        .withMessage("probability %s is not in [0, 1]", probability);
  }

  @Test
  void failAt_beforeTheFirstCall_isTheCallersMistake() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> faults.failAt("page", 0))
        .withMessage("call numbers start at 1, not 0");
  }

  @Test
  void failNext_beforeTheNextCall_isTheCallersMistake() {
    calls("page", 3);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> faults.failNext("page", 0))
        .withMessage("call numbers start at 1, not 0");
  }

  private List<Integer> calls(String place, int count) {
    return calls(faults, place, count);
  }

  /** Makes calls and returns the numbers of those that failed. */
  private static List<Integer> calls(FaultInjector faults, String place, int count) {
    List<Integer> failed = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      if (faults.shouldFail(place)) {
        failed.add((int) faults.callsAt(place));
      }
    }
    return failed;
  }
}
