package dev.septum.lab.bootlog;

/**
 * How a log is turned into a memory map.
 *
 * @param assumeTdx take the log for that of a TDX guest even if nothing in it says so
 * @param assumeMemory put the RAM into the map that must exist but that the log does not show
 */
public record MapOptions(boolean assumeTdx, boolean assumeMemory) {

  /** What {@code septum boot} does without options. */
  public static final MapOptions DEFAULT = new MapOptions(false, true);
}
