package dev.septum.lab.defects;

/** What a demonstration came to on one design. */
public enum Verdict {
  /** Reality and bookkeeping parted, or an invariant did not hold afterwards. */
  DEFECT,
  /** They agreed to the end, and something was done for nothing. */
  HARMLESS,
  /** They agreed to the end. */
  SOUND
}
