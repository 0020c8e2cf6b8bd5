package dev.septum.lab.conform;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.PageLevel;
import dev.septum.lab.conform.EntryChain.Move;
import dev.septum.mmu.SpteFormat;
import org.junit.jupiter.api.Test;

class EntryChainTest {

  private static final long EMPTY = SpteFormat.NONPRESENT;
  private static final long FROZEN = SpteFormat.FROZEN;

  /** A writable 4K leaf, one that is write-protected, and both with D clear. */
  private static final long RW = 0x112605e67L;

  private static final long RO = 0x112605e65L;
  private static final long RW_CLEAN = 0x112605e27L;
  private static final long RO_CLEAN = 0x112605e25L;

  private final EntryChain chain = new EntryChain(PageLevel.LEVEL_4K);

  @Test
  void nothingHappens_nothingIsMissing() {
    chain.start(RW);
    chain.end(RW);
    assertThat(chain.gap()).isEmpty();
  }

  @Test
  void changesInAnyOrder_addUp() {
    chain.start(EMPTY);
    chain.move(new Move(RO, RW));
    chain.move(new Move(RW, RO));
    chain.move(new Move(EMPTY, RW));
    chain.end(RW);
    assertThat(chain.gap()).isEmpty();
  }

  @Test
  void changeThatNobodyTraced_isAGap() {
    chain.start(RO);
    chain.end(RW);
    assertThat(chain.gap()).isPresent();
  }

  @Test
  void changeThatIsMissing_isAGap() {
    chain.start(RO);
    chain.move(new Move(RO, RW));
    chain.move(new Move(RO, RW));
    chain.end(RW);
    assertThat(chain.gap()).isPresent();
  }

  @Test
  void circleApartFromTheRest_isAGap() {
    chain.start(EMPTY);
    chain.move(new Move(RO, RW));
    chain.move(new Move(RW, RO));
    chain.end(EMPTY);
    assertThat(chain.gap()).hasValue("value 112605e65 is left but never entered");
  }

  @Test
  void hardware_setsDOfAWritableLeafAndA() {
    chain.start(RW_CLEAN & ~0x20L);
    chain.end(RW);
    assertThat(chain.gap()).isEmpty();
  }

  @Test
  void hardware_setsDBetweenTwoChanges() {
    chain.start(RW);
    chain.move(new Move(RW, RW_CLEAN));
    chain.move(new Move(RW, RO));
    chain.end(RO);
    assertThat(chain.gap()).isEmpty();
  }

  @Test
  void hardware_clearsNothing() {
    chain.start(RW);
    chain.end(RW_CLEAN);
    assertThat(chain.gap()).hasValue("value 112605e07 changes A or D without a trace");
  }

  @Test
  void hardware_setsNoDOfAProtectedLeaf() {
    chain.start(RO_CLEAN);
    chain.end(RO);
    assertThat(chain.gap()).hasValue("value 112605e05 changes A or D without a trace");
  }

  /** What is set on one way cannot even out what was cleared on another. */
  @Test
  void hardware_cannotSetAForD() {
    chain.start(RW & ~0x20L);
    chain.end(RW_CLEAN);
    assertThat(chain.gap()).isPresent();
  }

  @Test
  void hardware_setsNothingInATable() {
    EntryChain parent = new EntryChain(PageLevel.LEVEL_2M);
    parent.start(0x116bc3827L);
    parent.end(0x116bc3867L);
    assertThat(parent.gap()).isPresent();
  }

  @Test
  void tableThatIsTakenDown_leavesItsEntryFrozen() {
    chain.start(RO);
    chain.move(new Move(RO, FROZEN));
    chain.endLives(1);
    chain.start(EMPTY);
    chain.move(new Move(EMPTY, RW));
    chain.end(RW);
    assertThat(chain.gap()).isEmpty();
  }

  @Test
  void tableThatIsTakenDownUnderTheWriteLock_leavesVacantEntriesAsTheyAre() {
    chain.start(EMPTY);
    chain.start(0x8000040000017L);
    chain.endLives(2);
    assertThat(chain.gap()).isEmpty();
  }

  @Test
  void leafThatSurvivesItsTable_isAGap() {
    chain.start(RO);
    chain.endLives(1);
    assertThat(chain.gap()).isPresent();
  }

  @Test
  void entryThatIsUsedAfterItWasFrozen_isAGap() {
    chain.start(RO);
    chain.move(new Move(RO, FROZEN));
    chain.move(new Move(RO, RW));
    chain.endLives(1);
    assertThat(chain.gap()).isPresent();
  }
}
