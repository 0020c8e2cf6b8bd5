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

  /** The design that has the defect. */
  default TdxDesign posted() {
    return TdxDesign.POSTED_V3;
  }
}
