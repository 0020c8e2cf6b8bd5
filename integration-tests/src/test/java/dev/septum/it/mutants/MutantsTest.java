package dev.septum.it.mutants;

import static dev.septum.it.mutants.Search.exhaustive;
import static dev.septum.it.mutants.Search.onePreemption;
import static dev.septum.it.mutants.Search.pct;
import static dev.septum.it.mutants.Search.random;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.common.collect.ImmutableList;
import dev.septum.it.schedule.MutantPrograms;
import dev.septum.mmu.SpteFormat;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * That exploration finds what is wrong: each mutant of the main code is found within its bound, and
 * takes an interleaving to be found; in the same races, as far as the same bounds go, the code
 * itself is sound.
 */
final class MutantsTest {

  /** Schedules in which threads take turns: all there are of two threads that wait for nobody. */
  private static final Search TURNS = Search.noPreemption(10);

  /** A program, and how it is explored. */
  private record Race(MutantPrograms program, Search search) {
    @Override
    public String toString() {
      return program + ", " + search;
    }
  }

  /**
   * A mutant.
   *
   * @param name what is wrong with it
   * @param mutated the class that is changed, without {@code dev.septum}
   * @param edits the change
   * @param race where it must be found
   * @param cause words of the report
   */
  private record Mutant(String name, String mutated, List<Edit> edits, Race race, String cause) {
    @Override
    public String toString() {
      return name;
    }
  }

  private static Mutant mutant(
      String name,
      String mutated,
      List<Edit> edits,
      MutantPrograms program,
      Search search,
      String cause) {
    return new Mutant(name, mutated, edits, new Race(program, search), cause);
  }

  static List<Mutant> mutants() {
    return ImmutableList.of(
        mutant(
            "the split cache's count is not looked at again inside its lock",
            "tdx.SplitCache",
            List.of(Edit.in("take").answer("needsTopup", 0)),
            MutantPrograms.SPLIT_CACHE_DRAINED,
            random(50),
            "what the cache answers"),
        mutant(
            "a page is pushed into the split cache without its lock",
            "tdx.SplitCache",
            List.of(Edit.in("topup").drop("lock"), Edit.in("topup").drop("unlock")),
            MutantPrograms.SPLIT_CACHE_TOPPED_UP,
            random(50),
            "pages of the cache"),
        mutant(
            "the split cache's lock is taken after the push",
            "tdx.SplitCache",
            List.of(
                Edit.in("topup").drop("lock"), Edit.in("topup").replace("unlock", "lockAndUnlock")),
            MutantPrograms.SPLIT_CACHE_TOPPED_UP,
            random(50),
            "pages of the cache"),
        mutant(
            "a split that is undone gives its pages back without the lock",
            "tdx.SplitCache",
            List.of(Edit.in("giveBack").drop("lock"), Edit.in("giveBack").drop("unlock").times(2)),
            MutantPrograms.SPLIT_CACHE_GIVEN_BACK,
            random(50),
            "pages of the cache"),
        mutant(
            "a slow get does not look at the count again under pamt_lock",
            "dpamt.SymmetricReferences",
            List.of(Edit.in("install").answer("incrementUnlessZero", 0)),
            MutantPrograms.PAMT_GET_AND_GET,
            exhaustive(500),
            "what the get answers"),
        mutant(
            "a slow put works without pamt_lock",
            "dpamt.SymmetricReferences",
            List.of(Edit.in("drop").drop("lock").nth(2), Edit.in("drop").drop("unlock").times(4)),
            MutantPrograms.PAMT_PUT_AND_GET,
            random(100),
            "what the get answers"),
        mutant(
            "a count of users is looked at and stored in two steps",
            "dpamt.PamtRefcounts",
            List.of(Edit.in("addUnless").replace("compareAndExchange", "lookThenStore")),
            MutantPrograms.PAMT_PUT_AND_PUT,
            exhaustive(500),
            "[users]"),
        mutant(
            "an SPTE is stored without a look at what is there",
            "mmu.SpteWriter",
            List.of(Edit.in("exchange").replace("compareAndExchange", "store")),
            MutantPrograms.TWO_FAULTS,
            random(50),
            "page tables"),
        mutant(
            "an SPTE is looked at and stored in two steps",
            "mmu.SpteWriter",
            List.of(Edit.in("exchange").replace("compareAndExchange", "lookThenStore")),
            MutantPrograms.TWO_FAULTS,
            random(50),
            "page tables"),
        mutant(
            "a fault does not know a frozen SPTE",
            "mmu.PageFaultMapper",
            List.of(Edit.in("walk").constant(SpteFormat.FROZEN, -1)),
            MutantPrograms.TD_TWO_FAULTS,
            pct(50),
            "stale iterator"),
        mutant(
            "a fault does not ask whether it is stale",
            "mmu.PageFaults",
            List.of(Edit.in("fault").answer("isStale", 0)),
            MutantPrograms.TD_FAULT_AND_HOLE,
            onePreemption(800),
            "maps a page of free"),
        mutant(
            "an invalidation ends without a new sequence number",
            "mmu.MmuInvalidate",
            List.of(Edit.in("end").drop("addAndGet").nth(1)),
            MutantPrograms.TD_FAULT_AND_HOLE,
            onePreemption(800),
            "maps a page of free"),
        mutant(
            "an invalidation that goes on is not seen",
            "mmu.MmuInvalidate",
            List.of(Edit.in("mustRetry").answer("isInProgress", 0)),
            MutantPrograms.TD_FAULT_AND_HOLE,
            pct(200),
            "maps a page of free"),
        mutant(
            "a change of attributes does not say of which frames",
            "mmu.VmMemory",
            List.of(
                Edit.in("unmapOtherKind").drop("addRange"),
                Edit.in("unmapOtherKind").drop("addStraddledRanges")),
            MutantPrograms.TD_FAULT_AND_SHARE,
            pct(50),
            "maps shared frames"),
        mutant(
            "a split that lost its race forgets the table it did not need",
            "mmu.HugePageSplitter",
            List.of(Edit.in("walk").drop("freeSpare").times(2)),
            MutantPrograms.TWO_SPLITS_AND_A_ZAP,
            pct(200),
            "page tables"),
        mutant(
            "a table is freed before its grace period",
            "mmu.KvmMmu",
            List.of(Edit.in("freeAfterGracePeriod").replace("call", "atOnce")),
            MutantPrograms.TABLE_TAKEN_DOWN,
            exhaustive(500),
            "use after free"),
        mutant(
            "a root is not looked for again under tdp_mmu_pages_lock",
            "mmu.TdpRoots",
            List.of(Edit.in("allocUnderLock").drop("find")),
            MutantPrograms.TWO_LOADS,
            random(50),
            "one root for both"),
        mutant(
            "nobody is kicked out of the guest after TDH.MEM.TRACK",
            "tdx.TlbTracking",
            List.of(Edit.in("track").drop("kickVcpus")),
            MutantPrograms.TD_TOUCH_AND_SHARE,
            pct(120),
            "leaf stays blocked after a failed split"),
        mutant(
            "nobody is kicked out of the guest before a SEAMCALL is tried again",
            "tdx.NoVcpus",
            List.of(Edit.in("call").drop("kickVcpus")),
            MutantPrograms.TD_ENTRIES_AND_SHARE,
            pct(100),
            "TDX_OPERAND_BUSY | TD_EPOCH"));
  }

  static Set<Race> races() {
    return mutants().stream()
        .map(Mutant::race)
        .collect(Collectors.toCollection(LinkedHashSet::new));
  }

  /** What a search finds in the mutant's race, if the race is run by the mutant. */
  private static List<?> explore(Mutant mutant, Search search) throws ReflectiveOperationException {
    MutantLoader loader = new MutantLoader("dev.septum." + mutant.mutated(), mutant.edits());
    Object said =
        loader
            .loadClass(MutantPrograms.class.getName())
            .getMethod("explore", String.class, String.class, long.class)
            .invoke(null, mutant.race().program().name(), search.strategy(), search.most());
    loader.assertEachEditHit();
    return (List<?>) said;
  }

  @ParameterizedTest
  @MethodSource("mutants")
  void aMutant_isFound(Mutant mutant) throws ReflectiveOperationException {
    List<?> said = explore(mutant, mutant.race().search());
    assertThat(said).as("found by %s", mutant.race().search()).hasSize(3);
    assertThat(said.get(1)).isEqualTo("FAILURE");
    assertThat((String) said.get(2)).contains(mutant.cause());
  }

  @ParameterizedTest
  @MethodSource("mutants")
  void aMutant_isNotFoundWhereThreadsTakeTurns(Mutant mutant) throws ReflectiveOperationException {
    assertThat(explore(mutant, TURNS)).as("nothing is found").hasSize(1);
  }

  @ParameterizedTest
  @MethodSource("races")
  void theCodeItself_isSound(Race race) {
    Search search = race.search();
    assertThat(MutantPrograms.explore(race.program().name(), search.strategy(), search.most()))
        .as("nothing is found")
        .hasSize(1);
  }

  @Test
  void anEditThatMisses_isNoticed() {
    Edit edit = Edit.in("take").drop("noSuchCall");
    Mutant none =
        mutant(
            "none", "tdx.SplitCache", List.of(edit), MutantPrograms.SPLIT_CACHE_DRAINED, TURNS, "");
    assertThatThrownBy(() -> explore(none, TURNS)).hasMessageContaining("noSuchCall");
  }
}
