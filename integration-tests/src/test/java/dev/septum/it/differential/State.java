package dev.septum.it.differential;

import dev.septum.kvm.GfnRange;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;

/** What a VM has mapped in a range, and which frames of it are private. */
final class State {

  private final GfnRange range;
  private final List<Mapping> mappings;
  private final boolean[] isPrivate;

  State(GfnRange range, List<Mapping> mappings, boolean[] isPrivate) {
    this.range = range;
    this.mappings = mappings;
    this.isPrivate = isPrivate;
  }

  boolean isSameAs(State other) {
    return mappings.equals(other.mappings) && Arrays.equals(isPrivate, other.isPrivate);
  }

  /** The lowest gfn where another state of the same range differs. */
  long firstDifference(State other) {
    for (long gfn = range.start(); gfn < range.end(); gfn++) {
      if (!at(gfn).equals(other.at(gfn))) {
        return gfn;
      }
    }
    throw new IllegalArgumentException("the states are the same");
  }

  /** The state of one frame in words. */
  String at(long gfn) {
    String leafs =
        mappings.stream()
            .filter(mapping -> mapping.covers(gfn))
            .map(Mapping::toString)
            .collect(Collectors.joining(", "));
    return "%s; %s"
        .formatted(
            isPrivate[(int) (gfn - range.start())] ? "private" : "shared",
            leafs.isEmpty() ? "not mapped" : leafs);
  }
}
