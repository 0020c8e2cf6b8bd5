package dev.septum.lab.defects;

import dev.septum.tdx.TdxDesign;

/**
 * Steps that meet a defect, the same on either design. They never ask which design they run on:
 * what they see decides.
 */
@FunctionalInterface
public interface Demonstration {

  /** Takes the steps. */
  void run(Laboratory lab);

  /**
   * Whether what it shows is harmless, and the sound design does the same on purpose: both must
   * come to {@link Verdict#HARMLESS}.
   */
  default boolean isHarmless() {
    return false;
  }

  /** The design that has the defect. */
  default TdxDesign posted() {
    return TdxDesign.POSTED_V3;
  }
}
