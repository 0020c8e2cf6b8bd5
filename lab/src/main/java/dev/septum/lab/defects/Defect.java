package dev.septum.lab.defects;

import com.fasterxml.jackson.annotation.JsonIgnore;
import com.fasterxml.jackson.annotation.JsonProperty;
import org.jspecify.annotations.Nullable;

/**
 * One known defect of the posted series.
 *
 * @param id what users call it: {@code D1}
 * @param title the defect in one line
 * @param source the patch that has it, and who found it
 * @param consequence what comes of it
 * @param demonstration the script that shows it; null if the emulator cannot
 * @param whyNotShown why there is no demonstration; empty if there is one
 */
public record Defect(
    String id,
    String title,
    String source,
    String consequence,
    @JsonIgnore @Nullable Demonstration demonstration,
    String whyNotShown) {

  /** A defect that the emulator shows. */
  static Defect shown(
      String id, String title, String source, String consequence, Demonstration demonstration) {
    return new Defect(id, title, source, consequence, demonstration, "");
  }

  /** A defect that is only listed, and why. */
  static Defect listed(
      String id, String title, String source, String consequence, String whyNotShown) {
    return new Defect(id, title, source, consequence, null, whyNotShown);
  }

  /** Whether the emulator shows it. */
  @JsonProperty("shown")
  public boolean isShown() {
    return demonstration != null;
  }
}
