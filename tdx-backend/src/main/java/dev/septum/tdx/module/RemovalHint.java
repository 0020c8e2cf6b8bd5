package dev.septum.tdx.module;

/** Bit 62 beside a released HPA: its region's page pair is needed no more. */
final class RemovalHint {

  static final long BIT = 1L << 62;

  private RemovalHint() {}

  static long of(boolean wasLastPage) {
    return wasLastPage ? BIT : 0;
  }
}
