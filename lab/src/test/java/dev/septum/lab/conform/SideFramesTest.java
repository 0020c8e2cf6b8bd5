package dev.septum.lab.conform;

import static dev.septum.lab.conform.Synthetic.change;
import static dev.septum.lab.conform.Synthetic.event;
import static dev.septum.lab.conform.Synthetic.tables;
import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.PageLevel;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;

/** The recording has frames 0x1000 and up, the other side 0x2000 and up. */
class SideFramesTest {

  private static final String EMPTY = "8000000000000000";
  private static final String NEW_ROOT =
      "kvm_mmu_get_page: sp gen 0 gfn 0 l4 8-byte q0 direct wux nxe ad root 0 sync new";

  private final SideFrames recording = SideFrames.ofRecording(PageLevel.LEVEL_512G);
  private final SideFrames other = recording.ofReplay();

  // Tables.

  @Test
  void table_isTranslatedAsLongAsItLives() {
    both(link("40000", "1001827"), link("40000", "2001827"));

    assertThat(translated("kvm_mmu_set_spte: gfn 40005 spte 1 (r) level 1 at 2001028"))
        .isEqualTo("kvm_mmu_set_spte: gfn 40005 spte 1 (r) level 1 at 1001028");
    assertThat(translated(unlink("40000", "2001827"))).isEqualTo(unlink("40000", "1001827"));
  }

  @Test
  void frameThatOneSideUsesAgain_isAnotherTable() {
    both(link("40000", "1001827"), link("40000", "2001827"));
    both(unlink("40000", "1001827"), unlink("40000", "2001827"));
    both(link("40200", "1001827"), link("40200", "2002827"));
    both(link("40000", "1002827"), link("40000", "2001827"));

    assertThat(translated(unlink("40000", "2001827"))).isEqualTo(unlink("40000", "1002827"));
    assertThat(translated(unlink("40200", "2002827"))).isEqualTo(unlink("40200", "1001827"));
  }

  @Test
  void frameThatHoldsATable_cannotBeLinkedAgain() {
    both(link("40000", "1001827"), link("40000", "2001827"));
    recording.event(event(link("40200", "1002827")));

    assertThat(translated(link("40200", "2001827"))).isEqualTo(link("40200", "1001827"));
  }

  @Test
  void tableThatTheRecordingNeverHad_isAStranger() {
    assertThat(translated(link("40000", "2001827"))).isEqualTo(link("40000", "8000002001827"));
    both(link("40200", "1002827"), link("40200", "2002827"));
    assertThat(translated(unlink("40200", "2003827"))).isEqualTo(unlink("40200", "8000002003827"));
  }

  @Test
  void tableThatTheRecordingLinkedOnceOnly_isAStrangerTheSecondTime() {
    both(link("40000", "1001827"), link("40000", "2001827"));
    assertThat(translated(unlink("40000", "2001827"))).isEqualTo(unlink("40000", "1001827"));
    assertThat(translated(link("40000", "2001827"))).isEqualTo(link("40000", "8000002001827"));
  }

  @Test
  void recordingsOwnFrames_stay() {
    assertThat(recording.event(event(link("40000", "1001827"))))
        .hasToString(link("40000", "1001827"));
  }

  // Roots.

  @Test
  void root_staysWhereItIsUntilThereIsANewOne() {
    both(NEW_ROOT, NEW_ROOT);
    assertThat(rootOf(0x1009, 0x2009)).isEqualTo(0x1009);
    assertThat(rootOf(0x1009, 0x2009)).isEqualTo(0x1009);
    assertThat(rootOf(0x1009, 0x2008)).isNotEqualTo(0x1009);

    both(NEW_ROOT, NEW_ROOT);
    assertThat(rootOf(0x1009, 0x2007)).isEqualTo(0x1009);
  }

  @Test
  void rootInTheFrameOfATable_isFound() {
    both(NEW_ROOT, NEW_ROOT);
    both(link("40000", "1001827"), link("40000", "2001827"));
    assertThat(rootOf(0x1009, 0x2001)).isEqualTo(0x1001);
  }

  @Test
  void tableInTheFrameOfTheRoot_isFound() {
    both(NEW_ROOT, NEW_ROOT);
    rootOf(0x1009, 0x2009);
    recording.event(event(link("40000", "1001827")));
    assertThat(translated(link("40000", "2009827"))).isEqualTo(link("40000", "1009827"));
  }

  // Pages.

  @Test
  void pageThatIsListed_isTheSameOnBothSides() {
    FrameSet listed = new FrameSet();
    listed.add(0x5000, 0x5200);
    recording.begin(listed);
    other.begin(listed);
    recording.event(event(map("1", "5001e67")));

    assertThat(translated(map("1", "5002e67"))).isEqualTo(map("1", "5002e67"));
  }

  @Test
  void pageThatIsNotListed_keepsItsFrame() {
    both(map("1", "1001e67"), map("1", "2001e67"));
    both(unmap("1", "1001e67"), unmap("1", "2001e67"));
    recording.event(event(map("1", "1001e67")));

    assertThat(translated(map("1", "2001e67"))).isEqualTo(map("1", "1001e67"));
    assertThat(translated(map("1", "2002e67"))).isEqualTo(map("1", "8000002002e67"));
  }

  @Test
  void twoPages_cannotShareAFrame() {
    both(map("1", "1001e67"), map("1", "2001e67"));
    recording.event(event(map("2", "1002e67")));
    assertThat(translated(map("2", "2001e67"))).isEqualTo(map("2", "1001e67"));
  }

  @Test
  void pageThatMayHaveBeenGivenBack_mayComeBackElsewhere() {
    both(map("1", "1001e67"), map("1", "2001e67"));
    both(map("2", "1002e67"), map("2", "2002e67"));
    recording.forgetUnmappedPages(tables("leaf L1 gfn=0x1 n=1 spte=0x1001e67"));
    other.forgetUnmappedPages(tables("leaf L1 gfn=0x1 n=1 spte=0x2001e67"));

    both(map("2", "1002e67"), map("2", "2003e67"));
    assertThat(translated(unmap("2", "2003e67"))).isEqualTo(unmap("2", "1002e67"));
    assertThat(translated(unmap("1", "2001e67"))).isEqualTo(unmap("1", "1001e67"));
  }

  @Test
  void frameMayHoldATableAfterAPage() {
    both(map("1", "1001e67"), map("1", "2001e67"));
    both(link("40000", "1001827"), link("40000", "2005827"));
    assertThat(translated(unlink("40000", "2005827"))).isEqualTo(unlink("40000", "1001827"));
  }

  // The other events.

  @Test
  void requestForNoMemory_hasNoFrame() {
    String request = "kvm_mmu_spte_requested: gfn 40000 pfn 8000000000000000 level 1";
    assertThat(translated(request)).isEqualTo(request);
  }

  @Test
  void hashedPointers_areLeftOut() {
    assertThat(translated("mark_mmio_spte: sptep:00000000b4264b49 gfn 40000 access 7 gen 2"))
        .isEqualTo("mark_mmio_spte: gfn 40000 access 7 gen 2");
    assertThat(translated("fast_page_fault: vcpu 0 gva 0 error_code  sptep 00b4 old 0x0 new 0 x 1"))
        .isEqualTo("fast_page_fault: vcpu 0 gva 0 error_code  old 0x0 new 0 x 1");
  }

  @Test
  void splitAndFastFault_haveTheirLeafsTranslated() {
    both(map("1", "1001e65"), map("1", "2001e65"));
    assertThat(translated("fast_page_fault: vcpu 0 gva 1000 old 0x2001e65 new 2001e67"))
        .isEqualTo("fast_page_fault: vcpu 0 gva 1000 old 0x1001e65 new 1001e67");
    assertThat(translated("kvm_mmu_split_huge_page: gfn 1 spte 2001ee7 level 2 errno 0"))
        .isEqualTo("kvm_mmu_split_huge_page: gfn 1 spte 1001ee7 level 2 errno 0");
  }

  @Test
  void runOfPagesThatAreNotListed_isTranslatedOneByOne() {
    both(map("1", "1001e67"), map("1", "2007e67"));
    both(map("2", "1002e67"), map("2", "2003e67"));

    TableSnapshot recorded = tables("leaf L1 gfn=0x1 n=2 spte=0x1001e67");
    recording.dump(recorded);
    assertThat(
            other
                .dump(
                    tables(
                        "leaf L1 gfn=0x1 n=1 spte=0x2007e67", "leaf L1 gfn=0x2 n=1 spte=0x2003e67"))
                .lines()
                .subList(1, 3))
        .isEqualTo(recorded.lines().subList(1, 3));
  }

  @Test
  void noRoot_isNoRoot() {
    assertThat(other.dump(TableSnapshot.EMPTY)).isSameAs(TableSnapshot.EMPTY);
  }

  private void both(String recorded, String emulated) {
    recording.event(event(recorded));
    assertThat(translated(emulated)).isEqualTo(recorded);
  }

  private String translated(String emulated) {
    return other.event(event(emulated)).toString();
  }

  private long rootOf(long recorded, long emulated) {
    recording.dump(root(recorded));
    return other.dump(root(emulated)).rootFrame().orElseThrow();
  }

  private static TableSnapshot root(long frame) {
    return new TableSnapshot(OptionalLong.of(frame), PageLevel.LEVEL_512G, ImmutableList.of());
  }

  private static String link(String gfn, String table) {
    return change(2, gfn, EMPTY, table);
  }

  private static String unlink(String gfn, String table) {
    return change(2, gfn, table, EMPTY);
  }

  private static String map(String gfn, String leaf) {
    return change(1, gfn, EMPTY, leaf);
  }

  private static String unmap(String gfn, String leaf) {
    return change(1, gfn, leaf, EMPTY);
  }
}
