package dev.septum.dpamt;

/** What PAMT.ADD came to. */
public enum PamtAddStatus {
  /** The module has the pair. */
  ADDED,
  /** The range has a pair already ({@code TDX_HPA_RANGE_NOT_FREE}). */
  RANGE_NOT_FREE,
  /** Another SEAMCALL works on the range ({@code TDX_OPERAND_BUSY}). */
  BUSY,
  /** Any other error. */
  FAILED
}
