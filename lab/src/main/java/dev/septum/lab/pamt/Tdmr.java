package dev.septum.lab.pamt;

/** A TD memory region: whole GiB of host memory, {@code end} excluded. */
record Tdmr(long start, long end) {

  long bytes() {
    return end - start;
  }

  @Override
  public String toString() {
    return "[0x%x, 0x%x)".formatted(start, end);
  }
}
