package dev.septum.mmu;

/** What became of a page fault ({@code RET_PF_*}). */
public enum RetPf {
  /** Go on with the next step; never returned to a caller outside. */
  CONTINUE,
  /** Let the guest fault again. */
  RETRY,
  /** No memory there: emulate the instruction. */
  EMULATE,
  /** The gfn is write-tracked. */
  WRITE_PROTECTED,
  /** The fast path could not tell. */
  INVALID,
  /** A mapping was installed. */
  FIXED,
  /** The mapping was there already. */
  SPURIOUS,
  /** A negative errno: {@link FaultOutcome#error} says which. */
  ERROR;

  /** The kernel's number. */
  int number() {
    return ordinal();
  }
}
