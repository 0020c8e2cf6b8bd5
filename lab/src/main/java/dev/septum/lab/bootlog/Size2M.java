package dev.septum.lab.bootlog;

/** Bytes rounded to the 2 MiB that one huge page covers. */
public final class Size2M {

  private static final long BYTES = 2L << 20;

  private Size2M() {}

  /** The largest multiple of 2 MiB that is not above. */
  public static long roundDown(long bytes) {
    return bytes & -BYTES;
  }

  /** The smallest multiple of 2 MiB that is not below. */
  public static long roundUp(long bytes) {
    return roundDown(bytes + BYTES - 1);
  }
}
