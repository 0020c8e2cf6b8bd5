package dev.septum.mmu;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.GfnRange;
import java.util.Comparator;
import java.util.List;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * The memslots of a VM. Read without a lock from one immutable list; replaced under slots_lock.
 *
 * <p>The first address space only: nothing here runs in SMM.
 */
public final class Memslots {

  /** One state of the slots, in order of their gfns. */
  private record Generation(long number, ImmutableList<Memslot> slots) {}

  private final int addressSpaces;
  private volatile Generation current = new Generation(0, ImmutableList.of());

  /**
   * No slots.
   *
   * @param addressSpaces how many the VM has: each change advances the generation by as much
   */
  Memslots(int addressSpaces) {
    this.addressSpaces = addressSpaces;
  }

  /** The slot around a gfn, or null ({@code gfn_to_memslot}). */
  public @Nullable Memslot find(long gfn) {
    ImmutableList<Memslot> slots = current.slots;
    int low = 0;
    int high = slots.size() - 1;
    while (low <= high) {
      int middle = (low + high) >>> 1;
      GfnRange gfns = slots.get(middle).gfns();
      if (gfns.contains(gfn)) {
        return slots.get(middle);
      }
      if (gfn < gfns.start()) {
        high = middle - 1;
      } else {
        low = middle + 1;
      }
    }
    return null;
  }

  /** The slot with that number, or null. */
  public @Nullable Memslot byId(int id) {
    return current.slots.stream().filter(s -> s.id() == id).findFirst().orElse(null);
  }

  /** All slots, lowest gfn first. */
  public List<Memslot> all() {
    return current.slots;
  }

  /** The slots that share a frame with the range, lowest gfn first. */
  List<Memslot> overlapping(GfnRange range) {
    return current.slots.stream().filter(s -> s.gfns().overlaps(range)).toList();
  }

  /** The generation that MMIO SPTEs remember. */
  long generation() {
    return current.number;
  }

  /** Publishes the next state of the slots. slots_lock held. */
  void update(UnaryOperator<List<Memslot>> change) {
    ImmutableList<Memslot> next =
        change.apply(current.slots).stream()
            .sorted(Comparator.comparingLong(s -> s.gfns().start()))
            .collect(ImmutableList.toImmutableList());
    current = new Generation(current.number + addressSpaces, next);
  }
}
