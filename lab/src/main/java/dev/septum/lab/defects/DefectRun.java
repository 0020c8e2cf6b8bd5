package dev.septum.lab.defects;

import static com.google.common.base.Preconditions.checkArgument;

import com.fasterxml.jackson.annotation.JsonIgnore;
import com.fasterxml.jackson.annotation.JsonProperty;
import dev.septum.tdx.TdxDesign;

/**
 * The same steps on the posted and on the sound design.
 *
 * @param harmless whether both are to come to the same, and that to be harmless
 */
record DefectRun(
    String id, String title, DesignRun posted, DesignRun sound, @JsonIgnore boolean harmless) {

  /** Runs a defect that has a demonstration. */
  static DefectRun of(Defect defect) {
    Demonstration demonstration = defect.demonstration();
    checkArgument(demonstration != null, "%s has no demonstration", defect.id());
    return new DefectRun(
        defect.id(),
        defect.title(),
        Laboratory.run(demonstration, demonstration.posted()),
        Laboratory.run(demonstration, TdxDesign.SOUND),
        demonstration.isHarmless());
  }

  /** Whether the defect shows on the posted design only, or is harmless on both if it is to be. */
  @JsonProperty("asExpected")
  boolean isAsExpected() {
    return harmless
        ? posted.verdict() == Verdict.HARMLESS && sound.verdict() == Verdict.HARMLESS
        : posted.verdict() == Verdict.DEFECT && sound.verdict() == Verdict.SOUND;
  }
}
