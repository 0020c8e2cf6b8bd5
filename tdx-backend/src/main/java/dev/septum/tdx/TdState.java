package dev.septum.tdx;

/** How far a TD has come ({@code enum kvm_tdx_state}). */
public enum TdState {
  /** Created; the module knows nothing of it. */
  UNINITIALIZED,
  /** The module has it; initial memory is being added. */
  INITIALIZED,
  /** Finalized: it can run. */
  RUNNABLE
}
