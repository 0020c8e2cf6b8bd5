package dev.septum.lab.conform;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.PageLevel;
import dev.septum.mmu.SpteFormat;
import java.util.EnumSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The values are those of the recordings, but for the frames. */
class TransitionTest {

  @ParameterizedTest
  @CsvSource({
    "1, 8000000000000000, 112605e67, MAP",
    "1, 8000000000000000, 112605e47, MAP", // prefault: A clear
    "1, 8000000000000000, 112605825, MAP", // read-only
    "2, 8000000000000000, 112600ee7, MAP",
    "2, 8000000000000000, 8000000112600ee7, MAP", // NX huge pages
    "3, 8000000000000000, 180000ee7, MAP",
    "1, 8000040000017, 112605e67, MAP", // over an MMIO SPTE
    "1, 8000000000000000, 8000040000017, MAP_MMIO",
    "1, 8000040000017, 8000040000067, MAP_MMIO", // another generation
    "1, 112605e65, 112605e67, MAP_AGAIN",
    "1, 112605a65, 112605e67, MAP_AGAIN",
    "2, 112600ee5, 112600ee7, MAP_AGAIN",
    "1, 8000000112605e67, 112605e27, MAP_AGAIN", // execution regained, D dropped
    "1, 112605e67, 112605e27, DROP_DIRTY",
    "2, 112600ee7, 112600ea7, DROP_DIRTY",
    "1, 112605e67, 112605e65, WRITE_PROTECT",
    "1, 112605e27, 112605e25, WRITE_PROTECT",
    "2, 112600ee7, 112600ee5, WRITE_PROTECT",
    "2, 112600ee7, 112600ae5, WRITE_TRACK",
    "1, 112605e67, 112605e47, AGE",
    "2, 112600ee5, 112600ec5, AGE",
    "4, 8000000000000000, 116bc3827, LINK",
    "2, 8000000000000000, 116bc3827, LINK",
    "2, 112600ee7, 116bbe827, SPLIT",
    "3, 180000ee5, 116bbe827, SPLIT",
    "2, 116bbe827, 112600ee7, PROMOTE",
    "1, 112605e67, 8000000000000000, ZAP_LEAF",
    "3, 180000ee7, 8000000000000000, ZAP_LEAF",
    "2, 116bbe827, 8000000000000000, ZAP_TABLE",
    "1, 8000000000000000, 80000000000005a0, FREEZE",
    "1, 112605e65, 80000000000005a0, FREEZE",
    "2, 116bbe827, 80000000000005a0, FREEZE",
  })
  void changeThatWasSeen_hasItsRule(int level, String oldSpte, String newSpte, Transition rule) {
    assertThat(Transition.of(change(level, oldSpte, newSpte))).hasValue(rule);
  }

  @ParameterizedTest
  @CsvSource({
    "1, 8000000000000000, 112605e27", // writable, but not dirty
    "1, 8000000000000000, 112605e65", // dirty, but not writable
    "1, 8000000000000000, 112605ee7", // PS in a 4K entry
    "2, 8000000000000000, 112601ee7", // a 2M leaf whose frame is not aligned
    "4, 8000000000000000, 180000ee7", // a leaf of 512G
    "1, 8000000000000000, 112605827", // W without MMU_WRITABLE
    "2, 8000000000000000, 8000040000017", // an MMIO SPTE above 4K
    "1, 112605e67, 112606e67", // another frame
    "1, 112605e67, 112606e65",
    "1, 112605e65, 112605e27", // W is new, but D is gone
    "1, 112605e47, 112605e67", // only the CPU sets A
    "1, 112605e27, 112605e67", // only the CPU sets D
    "1, 112605e67, 112605e45", // A and W at once
    "1, 112605e67, 112605a65", // write-tracked at 4K
    "1, 112605e67, 112605c65", // HOST_WRITABLE lost
    "2, 112600ee7, 112600e67", // PS lost
    "2, 8000000000000000, 116bc3867", // a table that is dirty
    "2, 116bc3827, 116bc4827", // another table
    "2, 8000040000017, 116bc3827", // a table over an MMIO SPTE
    "1, 112605e67, 0", // not the empty value
    "1, 80000000000005a0, 112605e67", // out of a frozen entry
    "1, 80000000000005a0, 8000000000000000",
  })
  void changeThatNoRuleAllows_hasNone(int level, String oldSpte, String newSpte) {
    assertThat(Transition.of(change(level, oldSpte, newSpte))).isEmpty();
  }

  /**
   * A rule that nothing ever needs would be there to hide something. The host asked for the age of
   * pages in a recording that is not part of the project.
   */
  @Test
  void everyRuleButAge_isNeededByARecording() throws RecordingException {
    Set<Transition> needed = EnumSet.of(Transition.AGE);
    for (Recordings.Found found : RealRecordings.all()) {
      for (OpOutcome outcome : found.read().outcomes()) {
        outcome.events().stream()
            .filter(event -> event.name().equals(SpteChange.NAME))
            .flatMap(event -> Transition.of(SpteChange.of(event)).stream())
            .forEach(needed::add);
      }
    }
    assertThat(needed).containsExactly(Transition.values());
  }

  @ParameterizedTest
  @CsvSource({
    "112605e65, 112605e67, true",
    "112605e25, 112605e27, true",
    "112600ee5, 112600ee7, true",
    "112605e25, 112605e67, true", // D was set by the other vCPU meanwhile
    "112605e65, 112605e65, false", // protected again, but nobody says so
    "112605e65, 112605e27, false", // D is gone
    "112605e65, 80000000000005a0, true", // frozen meanwhile
    "112605a65, 112605a67, false", // MMU_WRITABLE is clear
    "112605e67, 112605e67, false", // writable already
    "112605e65, 112606e67, false",
    "8000000000000000, 8000000000000002, false"
  })
  void fastFix_setsWAlone(String oldSpte, String tracedSpte, boolean allowed) {
    FastFix fix = new FastFix(0x40005, hex(oldSpte), hex(tracedSpte));
    assertThat(fix.isAllowed(Set.of(SpteFormat.FROZEN))).isEqualTo(allowed);
  }

  private static SpteChange change(int level, String oldSpte, String newSpte) {
    return new SpteChange(0x40000, PageLevel.of(level), hex(oldSpte), hex(newSpte));
  }

  private static long hex(String digits) {
    return Long.parseUnsignedLong(digits, 16);
  }
}
