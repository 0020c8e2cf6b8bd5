package dev.septum.mmu;

/** What a guest instruction does to memory. */
public enum AccessKind {
  /** It reads. */
  READ,
  /** It writes. */
  WRITE,
  /** It is fetched from there. */
  EXEC
}
