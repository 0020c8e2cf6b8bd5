package dev.septum.tdx.module;

/** What a guest instruction does to memory; the bit is the one in an EPT exit qualification. */
public enum AccessKind {
  READ(0),
  WRITE(1),
  EXECUTE(2);

  private final int bit;

  AccessKind(int bit) {
    this.bit = bit;
  }

  long qualification() {
    return 1L << bit;
  }
}
