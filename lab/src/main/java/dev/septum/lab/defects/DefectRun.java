package dev.septum.lab.defects;

import static com.google.common.base.Preconditions.checkArgument;

import com.fasterxml.jackson.annotation.JsonProperty;
import dev.septum.tdx.TdxDesign;

/** The same steps on the posted and on the sound design. */
record DefectRun(String id, String title, DesignRun posted, DesignRun sound) {

  /** Runs a defect that has a demonstration. */
  static DefectRun of(Defect defect) {
    Demonstration demonstration = defect.demonstration();
    checkArgument(demonstration != null, "%s has no demonstration", defect.id());
    return new DefectRun(
        defect.id(),
        defect.title(),
        Laboratory.run(demonstration, demonstration.posted()),
        Laboratory.run(demonstration, TdxDesign.SOUND));
  }

  /** Whether the defect shows on the posted design, and on that one only. */
  @JsonProperty("asExpected")
  boolean isAsExpected() {
    return posted.verdict() == Verdict.DEFECT && sound.verdict() == Verdict.SOUND;
  }
}
