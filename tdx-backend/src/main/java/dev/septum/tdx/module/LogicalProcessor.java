package dev.septum.tdx.module;

/** The processor that executes a SEAMCALL: its pending interrupt and its shared EPT. */
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

  /** Whether an event is pending that makes interruptible SEAMCALLs and the guest stop. */
  boolean isInterruptPending();

  /** Whether the host's shared EPT lets the guest do {@code kind} at this GPA. */
  boolean isSharedMapped(long gpaWithoutSharedBit, AccessKind kind);
}
