package dev.septum.lab.defects;

import com.google.common.collect.ImmutableList;
import java.util.List;

/** Defects that were run one after the other. */
public final class DefectRuns {

  private final ImmutableList<DefectRun> runs;

  private DefectRuns(ImmutableList<DefectRun> runs) {
    this.runs = runs;
  }

  /** Runs defects that can be shown. */
  public static DefectRuns of(List<Defect> defects) {
    return new DefectRuns(
        defects.stream().map(DefectRun::of).collect(ImmutableList.toImmutableList()));
  }

  /** Whether each defect shows on the posted design only, or is harmless on both if it is to be. */
  public boolean areAsExpected() {
    return runs.stream().allMatch(DefectRun::isAsExpected);
  }

  /** The runs as records, for JSON. */
  public ImmutableList<?> records() {
    return runs;
  }

  /** The runs for people. */
  public String text() {
    return DefectText.runs(runs);
  }
}
