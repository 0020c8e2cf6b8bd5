package dev.septum.lab.bootlog;

/**
 * The guest's DMA bounce buffer, converted to shared as one range at boot.
 *
 * @param startGpa first byte
 * @param endGpa first byte after it
 * @param assumed whether the log does not say where it is
 */
public record SwiotlbBuffer(long startGpa, long endGpa, boolean assumed) {

  /** Size in bytes. */
  public long bytes() {
    return endGpa - startGpa;
  }
}
