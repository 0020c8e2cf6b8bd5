package dev.septum.lab.conform;

import static dev.septum.lab.conform.Synthetic.change;
import static dev.septum.lab.conform.Synthetic.fastFix;
import static dev.septum.lab.conform.Synthetic.tables;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class ChainsTest {

  private static final String EMPTY = "8000000000000000";
  private static final String FROZEN = "80000000000005a0";

  /** A root with a table of 2M entries, and nothing below. */
  private static final List<String> UPPER =
      List.of("table L4 gfn=0x0 spte=0x2827", "table L3 gfn=0x40000 spte=0x3827");

  private static final String TABLE = "table L2 gfn=0x40000 spte=0x4827";
  private static final String HUGE = "leaf L2 gfn=0x40000 n=1 spte=0x112600ee7";

  private final List<String> events = new ArrayList<>();

  // Tables that come.

  @Test
  void tableThatIsLinked_startsEmpty() {
    events.add(change(2, "40000", EMPTY, "4827"));
    events.add(change(1, "40005", EMPTY, "112605e67"));
    assertThat(violations(upper(), upper(TABLE, "leaf L1 gfn=0x40005 n=1 spte=0x112605e67")))
        .isEmpty();
    assertThat(violations(upper(), upper(TABLE, "leaf L1 gfn=0x40005 n=2 spte=0x112605e67")))
        .containsExactly("l1 gfn 40006: value 8000000000000000 is entered more often than left");
  }

  @Test
  void tableOfASplit_startsWithItsChildren() {
    events.add(change(2, "40000", "112600ee5", "4827"));
    events.add(fastFix("40005000", "112605e65", "112605e67"));
    assertThat(
            violations(
                upper("leaf L2 gfn=0x40000 n=1 spte=0x112600ee5"),
                upper(
                    TABLE,
                    "leaf L1 gfn=0x40000 n=5 spte=0x112600e65",
                    "leaf L1 gfn=0x40005 n=1 spte=0x112605e67",
                    "leaf L1 gfn=0x40006 n=506 spte=0x112606e65")))
        .isEmpty();
  }

  @Test
  void tableOfASplitUnderNxHugePages_isExecutable() {
    events.add(change(2, "40000", "8000000112600ee7", "4827"));
    TableSnapshot before = upper("leaf L2 gfn=0x40000 n=1 spte=0x8000000112600ee7");
    TableSnapshot after = upper(TABLE, "leaf L1 gfn=0x40000 n=512 spte=0x112600e67");

    assertThat(violations(before, after, true)).isEmpty();
    assertThat(violations(before, after, false)).hasSize(512);
  }

  @Test
  void splitOf1G_startsWith512Of2M() {
    events.add(change(3, "40000", "180000ee7", "3827"));
    events.add(change(2, "40200", "180200ee7", "4827"));
    assertThat(
            violations(
                tables("table L4 gfn=0x0 spte=0x2827", "leaf L3 gfn=0x40000 n=1 spte=0x180000ee7"),
                tables(
                    "table L4 gfn=0x0 spte=0x2827",
                    "table L3 gfn=0x40000 spte=0x3827",
                    "leaf L2 gfn=0x40000 n=1 spte=0x180000ee7",
                    "table L2 gfn=0x40200 spte=0x4827",
                    "leaf L1 gfn=0x40200 n=512 spte=0x180200e67",
                    "leaf L2 gfn=0x40400 n=510 spte=0x180400ee7")))
        .isEmpty();
  }

  // Tables that go.

  @Test
  void tableThatReadersTakeDown_isFrozenWhole() {
    takeDown();
    for (int i = 0; i < 512; i++) {
      String gfn = Integer.toHexString(0x40000 + i);
      events.add(change(1, gfn, i == 5 ? "112605e67" : EMPTY, FROZEN));
    }
    TableSnapshot before = upper(TABLE, "leaf L1 gfn=0x40005 n=1 spte=0x112605e67");

    assertThat(violations(before, upper())).isEmpty();
    events.remove(events.size() - 1);
    assertThat(violations(before, upper()))
        .containsExactly("l1 gfn 401ff: frozen 0 times, but its table was taken down 1 times");
  }

  @Test
  void tableThatAWriterTakesDown_isFrozenWhereItIsPresent() {
    takeDown();
    events.add(change(1, "40005", "112605e67", FROZEN));
    TableSnapshot before = upper(TABLE, "leaf L1 gfn=0x40005 n=1 spte=0x112605e67");

    assertThat(violations(before, upper())).isEmpty();
    events.remove(events.size() - 1);
    assertThat(violations(before, upper()))
        .containsExactly("l1 gfn 40005: value 112605e07 is entered more often than left");
  }

  @Test
  void tablesBelowATableThatIsTakenDown_goAsWell() {
    events.add(change(3, "40000", "3827", EMPTY));
    events.add(change(2, "40000", "4827", FROZEN));
    events.add(change(1, "40005", "112605e67", FROZEN));
    assertThat(
            violations(
                upper(TABLE, "leaf L1 gfn=0x40005 n=1 spte=0x112605e67"),
                tables("table L4 gfn=0x0 spte=0x2827")))
        .isEmpty();
  }

  @Test
  void entryThatIsFrozenInATableThatStays_isWrong() {
    events.add(change(1, "40005", "112605e67", FROZEN));
    assertThat(violations(upper(TABLE, "leaf L1 gfn=0x40005 n=1 spte=0x112605e67"), upper(TABLE)))
        .contains("l1 gfn 40005: frozen 1 times, but its table was taken down 0 times");
  }

  /** The event of the new table may come before those of the old one's entries. */
  @Test
  void tableThatComesBack_isTwoLives() {
    takeDown();
    events.add(change(2, "40000", EMPTY, "5827"));
    events.add(change(1, "40005", EMPTY, "112605e67"));
    events.add(change(1, "40005", "112605e65", FROZEN));
    assertThat(
            violations(
                upper(TABLE, "leaf L1 gfn=0x40005 n=1 spte=0x112605e65"),
                upper(
                    "table L2 gfn=0x40000 spte=0x5827",
                    "leaf L1 gfn=0x40005 n=1 spte=0x112605e67")))
        .isEmpty();
  }

  private void takeDown() {
    events.add(change(2, "40000", "4827", EMPTY));
  }

  // Fast fixes, whose level nobody traces.

  @Test
  void fastFixOf2M_isFoundByItsSize() {
    events.add(fastFix("40005000", "112600ee5", "112600ee7"));
    assertThat(violations(upper("leaf L2 gfn=0x40000 n=1 spte=0x112600ee5"), upper(HUGE)))
        .isEmpty();
  }

  @Test
  void fastFixOf1G_isFoundByWhatWasThere() {
    events.add(fastFix("40205000", "180000ee5", "180000ee7"));
    assertThat(
            violations(
                tables("table L4 gfn=0x0 spte=0x2827", "leaf L3 gfn=0x40000 n=1 spte=0x180000ee5"),
                tables("table L4 gfn=0x0 spte=0x2827", "leaf L3 gfn=0x40000 n=1 spte=0x180000ee7")))
        .isEmpty();
  }

  // Roots.

  @Test
  void rootThatIsReplaced_startsEmptyAndEndsSo() {
    events.add(change(4, "0", "2827", EMPTY));
    events.add(change(3, "40000", "3827", FROZEN));
    events.add(change(4, "0", EMPTY, "6827"));
    assertThat(violations(upper(), tables("table L4 gfn=0x0 spte=0x6827"))).isEmpty();
    assertThat(violations(upper(), TableSnapshot.EMPTY))
        .contains("l4 gfn 0: value 8000000000000000 is left more often than entered");
  }

  @Test
  void changesBelowWhatIsRecorded_areNotMissed() {
    events.add(change(2, "40000", EMPTY, "4827"));
    TableSnapshot after = upper(TABLE, "leaf L1 gfn=0x40005 n=1 spte=0x112605e67");
    Chains chains = new Chains(Synthetic.header(PageLevel.LEVEL_2M, true), false, upper(), after);
    events.forEach(event -> chains.add(SpteChange.of(Synthetic.event(event))));
    assertThat(chains.violations()).isEmpty();
  }

  private static TableSnapshot upper(String... below) {
    List<String> lines = new ArrayList<>(UPPER);
    lines.addAll(List.of(below));
    return tables(lines.toArray(String[]::new));
  }

  private List<String> violations(TableSnapshot before, TableSnapshot after) {
    return violations(before, after, false);
  }

  private List<String> violations(TableSnapshot before, TableSnapshot after, boolean nxHugePages) {
    Chains chains = new Chains(Synthetic.HEADER, nxHugePages, before, after);
    for (String text : events) {
      Event event = Synthetic.event(text);
      if (event.name().equals(SpteChange.NAME)) {
        chains.add(SpteChange.of(event));
      }
      FastFix.of(event).ifPresent(chains::add);
    }
    return chains.violations();
  }
}
