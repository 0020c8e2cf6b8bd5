package dev.septum.tdx.module;

/** The processor that executes a SEAMCALL: its pending events, its clock and its shared EPT. */
public interface LogicalProcessor {

  /** A processor that no interrupt ever reaches and whose shared EPT is empty. */
  LogicalProcessor NONE =
      new LogicalProcessor() {
        @Override
        public boolean isInterruptPending() {
          return false;
        }

        @Override
        public boolean isSharedMapped(long gpaWithoutSharedBit, AccessKind kind) {
          return false;
        }
      };

  /** Whether an external interrupt is pending, which makes the guest stop. */
  boolean isInterruptPending();

  /** Whether an NMI, an SMI or another event is pending that nothing masks. */
  default boolean isNmiPending() {
    return false;
  }

  /** The host's RFLAGS.IF: without it an external interrupt does not stop a SEAMCALL. */
  default boolean areInterruptsEnabled() {
    return true;
  }

  /** The number among the machine's processors, from 0. */
  default int number() {
    return 0;
  }

  /** The number of its package, from 0. */
  default int packageNumber() {
    return 0;
  }

  /** The time in microseconds; on a processor whose clock stands still nothing times out. */
  default long microseconds() {
    return 0;
  }

  /** Whether the host's shared EPT lets the guest do {@code kind} at this GPA. */
  boolean isSharedMapped(long gpaWithoutSharedBit, AccessKind kind);
}
