package dev.septum.kernel;

/** How a {@link RwLock} is held: where the kernel passes {@code bool shared}. */
public enum LockMode {
  /** Held for read. */
  SHARED,
  /** Held for write. */
  EXCLUSIVE
}
