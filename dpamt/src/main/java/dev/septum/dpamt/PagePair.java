package dev.septum.dpamt;

import static com.google.common.base.Preconditions.checkArgument;

/** Two pages that hold the 4K PAMT entries of one 2 MiB range; pfns. */
public record PagePair(long first, long second) {

  /** Checks that these are two pages. */
  public PagePair {
    checkArgument(
        first >= 0 && second >= 0 && first != second,
        "pfns %s and %s are not two pages",
        first,
        second);
  }

  @Override
  public String toString() {
    return "{0x%x, 0x%x}".formatted(first, second);
  }
}
