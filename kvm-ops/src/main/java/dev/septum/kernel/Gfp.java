package dev.septum.kernel;

/** How an allocation may behave ({@code gfp_t}). */
public enum Gfp {
  /** May sleep; charged to nobody ({@code GFP_KERNEL}). */
  KERNEL(true),
  /** May sleep; charged to the calling process ({@code GFP_KERNEL_ACCOUNT}). */
  KERNEL_ACCOUNT(true),
  /** Must not sleep ({@code GFP_ATOMIC}). */
  ATOMIC(false);

  private final boolean sleeping;

  Gfp(boolean sleeping) {
    this.sleeping = sleeping;
  }

  /** Whether the allocation may sleep. */
  public boolean maySleep() {
    return sleeping;
  }
}
