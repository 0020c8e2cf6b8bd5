package dev.septum.lab.conform;

import static dev.septum.lab.conform.Synthetic.change;
import static dev.septum.lab.conform.Synthetic.fastFix;
import static dev.septum.lab.conform.Synthetic.op;
import static dev.septum.lab.conform.Synthetic.outcome;
import static dev.septum.lab.conform.Synthetic.tables;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** A slot of four pages at gfn 0x40000. */
class DirtyLogTest {

  private static final String EMPTY = "8000000000000000";
  private static final String MAPS_PAGE_1 = change(1, "40001", EMPTY, "112601e67");
  private static final String FIXES_PAGE_1 = fastFix("40001000", "112601e65", "112601e67");

  private static final TableSnapshot PAGE_1_WRITABLE =
      tables("leaf L1 gfn=0x40001 n=1 spte=0x112601e67", "leaf L1 gfn=0x50000 n=1 spte=0x7e67");

  private static final TableSnapshot PAGE_1_PROTECTED =
      tables("leaf L1 gfn=0x40001 n=1 spte=0x112601e65", "leaf L1 gfn=0x50000 n=1 spte=0x7e67");

  private DirtyLog log = new DirtyLog(Synthetic.HEADER);

  // The pages that must be there.

  @Test
  void pageThatBecameWritable_isReported() throws RecordingException {
    create(0);
    setFlags(1);
    touch(MAPS_PAGE_1);
    assertThat(get(PAGE_1_WRITABLE, PAGE_1_PROTECTED, 1)).isEmpty();
  }

  @Test
  void pageThatWasFixed_isReported() throws RecordingException {
    create(0);
    setFlags(1);
    touch(FIXES_PAGE_1);
    assertThat(get(PAGE_1_WRITABLE, PAGE_1_PROTECTED, 1)).isEmpty();
  }

  @Test
  void writablePage_isMissed() throws RecordingException {
    create(0);
    setFlags(1);
    touch(MAPS_PAGE_1);
    assertThat(get(PAGE_1_WRITABLE, PAGE_1_PROTECTED))
        .containsExactly("gfn 40001 is writable, but not in the dirty log");
  }

  /** A page that is protected again, as by a second toggle, may be reported. */
  @Test
  void pageThatWasWritableOnce_mayBeReported() throws RecordingException {
    create(0);
    setFlags(1);
    touch(MAPS_PAGE_1);
    assertThat(get(PAGE_1_PROTECTED, PAGE_1_PROTECTED, 1)).isEmpty();
  }

  // The pages that must not be there.

  @Test
  void pageThatNeverBecameWritable_isNotReported() throws RecordingException {
    create(0);
    setFlags(1);
    touch(MAPS_PAGE_1);
    assertThat(get(PAGE_1_WRITABLE, PAGE_1_PROTECTED, 1, 3))
        .containsExactly("gfn 40003 is in the dirty log, but never became writable");
  }

  @Test
  void logThatWasRead_isEmpty() throws RecordingException {
    create(0);
    setFlags(1);
    touch(MAPS_PAGE_1);
    get(PAGE_1_WRITABLE, PAGE_1_PROTECTED, 1);
    assertThat(get(PAGE_1_PROTECTED, PAGE_1_PROTECTED, 1))
        .containsExactly("gfn 40001 is in the dirty log, but never became writable");
  }

  @Test
  void logThatIsEnabled_isEmpty() throws RecordingException {
    create(0);
    setFlags(0);
    touch(MAPS_PAGE_1);
    setFlags(1);
    assertThat(get(PAGE_1_PROTECTED, PAGE_1_PROTECTED, 1))
        .containsExactly("gfn 40001 is in the dirty log, but never became writable");
  }

  @Test
  void logThatWasEnabledAlready_isNotEmptied() throws RecordingException {
    create(0);
    setFlags(1);
    touch(MAPS_PAGE_1);
    setFlags(1);
    assertThat(get(PAGE_1_WRITABLE, PAGE_1_PROTECTED, 1)).isEmpty();
  }

  @Test
  void slotThatCouldNotBeSet_isAsBefore() throws RecordingException {
    create(0);
    setFlags(0);
    touch(MAPS_PAGE_1);
    OutcomeDraft failed = new OutcomeDraft(outcome());
    failed.rc = -1;
    next(region(1, failed.outcome()), TableSnapshot.EMPTY, TableSnapshot.EMPTY);
    assertThat(get(PAGE_1_WRITABLE, PAGE_1_PROTECTED, 1)).isEmpty();
  }

  // Who reads without emptying.

  @Test
  void pageOfALogThatIsRead_isProtectedAgain() throws RecordingException {
    create(0);
    setFlags(1);
    touch(MAPS_PAGE_1);
    assertThat(get(PAGE_1_WRITABLE, PAGE_1_WRITABLE, 1))
        .containsExactly("gfn 40001 stays writable in an empty dirty log");
  }

  @Test
  void withManualProtect_readingChangesNothing() throws RecordingException {
    create(1);
    setFlags(1);
    touch(MAPS_PAGE_1);
    assertThat(get(PAGE_1_WRITABLE, PAGE_1_WRITABLE, 1)).isEmpty();
    assertThat(get(PAGE_1_WRITABLE, PAGE_1_WRITABLE, 1)).isEmpty();
    assertThat(get(PAGE_1_WRITABLE, PAGE_1_WRITABLE)).hasSize(1);
  }

  @Test
  void withAllInitiallySet_anyPageMayBeReported() throws RecordingException {
    create(3);
    setFlags(1);
    assertThat(get(PAGE_1_WRITABLE, PAGE_1_WRITABLE, 0, 1, 2, 3)).isEmpty();
    assertThat(get(PAGE_1_WRITABLE, PAGE_1_WRITABLE, 0)).hasSize(1);
  }

  @Test
  void withoutEventsOf4kLeafs_anyPageMayBeReported() throws RecordingException {
    log = new DirtyLog(Synthetic.header(PageLevel.LEVEL_2M, true));
    create(0);
    setFlags(1);
    assertThat(get(PAGE_1_PROTECTED, PAGE_1_PROTECTED, 1)).isEmpty();
  }

  // Logging that a race toggles.

  @Test
  void toggleThatSaysSo_emptiesTheLog() throws RecordingException {
    create(0);
    setFlags(0);
    race(MAPS_PAGE_1, "tracing_mark_write: ORACLE toggle 0 flags=1 begin");
    assertThat(get(PAGE_1_PROTECTED, PAGE_1_PROTECTED, 1)).hasSize(1);
  }

  @Test
  void toggleThatSaysNothing_mayHaveBeenAnywhere() throws RecordingException {
    create(0);
    setFlags(0);
    race(MAPS_PAGE_1);
    setFlags(1);
    assertThat(get(PAGE_1_WRITABLE, PAGE_1_PROTECTED, 1)).isEmpty();
  }

  @Test
  void toggleThatDisables_emptiesNothing() throws RecordingException {
    create(0);
    setFlags(1);
    race(MAPS_PAGE_1, "tracing_mark_write: ORACLE toggle 1 flags=0 begin");
    assertThat(get(PAGE_1_WRITABLE, PAGE_1_PROTECTED, 1)).isEmpty();
  }

  @Test
  void logThatCannotBeRead_isNotCompared() throws RecordingException {
    create(0);
    setFlags(1);
    touch(MAPS_PAGE_1);
    OutcomeDraft failed = new OutcomeDraft(outcome());
    failed.rc = -1;
    assertThat(
            next(
                op("get_dirty_log", "'slot': 1", failed.outcome()),
                PAGE_1_WRITABLE,
                PAGE_1_WRITABLE))
        .isEmpty();
  }

  private void create(int manualProtect) throws RecordingException {
    String parameters = "'manual_dirty_log_protect2': " + manualProtect;
    next(op("create_vm", parameters, outcome()), TableSnapshot.EMPTY, TableSnapshot.EMPTY);
  }

  private void setFlags(int flags) throws RecordingException {
    next(region(flags, outcome()), TableSnapshot.EMPTY, TableSnapshot.EMPTY);
  }

  private static RecordedOp region(int flags, OpOutcome outcome) {
    String parameters =
        "'slot': 1, 'gpa': '0x40000000', 'size': '0x4000', 'flags': %d".formatted(flags);
    return op("set_user_memory_region", parameters, outcome);
  }

  private void touch(String... events) throws RecordingException {
    next(op("touch", "", outcome(events)), TableSnapshot.EMPTY, TableSnapshot.EMPTY);
  }

  private void race(String... events) throws RecordingException {
    String parameters = "'vcpu_threads': 2, 'base': '0x40000000', 'span': '0x4000'";
    next(op("concurrent", parameters, outcome(events)), TableSnapshot.EMPTY, TableSnapshot.EMPTY);
  }

  private List<String> get(TableSnapshot before, TableSnapshot after, long... pages)
      throws RecordingException {
    List<long[]> ranges = new ArrayList<>();
    for (long page : pages) {
      ranges.add(new long[] {page, 1});
    }
    OutcomeDraft draft = new OutcomeDraft(outcome());
    draft.dirtyRanges = Optional.of(ranges);
    return next(op("get_dirty_log", "'slot': 1", draft.outcome()), before, after);
  }

  private List<String> next(RecordedOp op, TableSnapshot before, TableSnapshot after)
      throws RecordingException {
    return log.next(op, op.outcome(), before, after);
  }
}
