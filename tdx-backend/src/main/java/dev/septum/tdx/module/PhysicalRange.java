package dev.septum.tdx.module;

/**
 * A range of physical addresses.
 *
 * @param base its first byte
 * @param bytes its size
 */
public record PhysicalRange(long base, long bytes) {

  /** The first byte after it. */
  public long end() {
    return base + bytes;
  }

  boolean contains(long hpa) {
    return hpa >= base && hpa < end();
  }

  boolean overlaps(PhysicalRange other) {
    return base < other.end() && other.base < end();
  }

  boolean isAligned(long alignment) {
    return (base & alignment - 1) == 0 && (bytes & alignment - 1) == 0;
  }
}
