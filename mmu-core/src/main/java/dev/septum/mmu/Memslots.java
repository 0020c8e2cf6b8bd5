package dev.septum.mmu;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.SharedRef;
import dev.septum.kernel.Srcu;
import dev.septum.kvm.GfnRange;
import java.util.Comparator;
import java.util.List;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * The memslots of a VM, in each of its address spaces: 0, and 1 for vCPUs in SMM. Read from one
 * immutable list, in an SRCU section by whoever keeps a slot for longer; replaced under slots_lock.
 */
public final class Memslots {

  /** Slots that user space can number, in each address space ({@code KVM_USER_MEM_SLOTS}). */
  private static final int MAX_SLOTS = 32764;

  /** One state of an address space's slots, in order of their gfns. */
  private record Generation(long number, ImmutableList<Memslot> slots) {}

  /** One address space. */
  private static final class Space {
    private final SharedRef<Generation> generation;

    Space(Kernel kernel, int asId) {
      generation = kernel.ref(new Generation(asId, ImmutableList.of())).named("memslots");
    }

    Generation current() {
      return generation.get();
    }

    void publish(Generation next) {
      generation.set(next);
    }
  }

  private final ImmutableList<Space> spaces;

  /** {@code kvm->srcu}: faults hold it while they use a slot. */
  private final Srcu srcu;

  /**
   * No slots.
   *
   * @param addressSpaces how many the VM has: each change advances a generation by as much
   */
  Memslots(Kernel kernel, int addressSpaces) {
    srcu = new Srcu(kernel);
    spaces =
        IntStream.range(0, addressSpaces)
            .mapToObj(asId -> new Space(kernel, asId))
            .collect(ImmutableList.toImmutableList());
  }

  /** Keeps the slots that are found until the section ends usable; takes no slots_lock inside. */
  <T> T reading(Supplier<T> body) {
    int section = srcu.readLock();
    try {
      return body.get();
    } finally {
      srcu.readUnlock(section);
    }
  }

  /** The slot around a gfn of the first address space, or null ({@code gfn_to_memslot}). */
  public @Nullable Memslot find(long gfn) {
    return find(0, gfn);
  }

  /** The slot around a gfn, or null ({@code __gfn_to_memslot}). */
  @Nullable Memslot find(int asId, long gfn) {
    ImmutableList<Memslot> slots = spaces.get(asId).current().slots;
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

  /** The slot with that number, or null; address space in bits 31:16. */
  public @Nullable Memslot byId(int slot) {
    return isPossibleId(slot)
        ? spaces.get(slot >>> 16).current().slots.stream()
            .filter(s -> s.asIdAndId() == slot)
            .findFirst()
            .orElse(null)
        : null;
  }

  /** Whether there can be a slot of that number; address space in bits 31:16. */
  boolean isPossibleId(int slot) {
    return slot >= 0 && slot >>> 16 < spaces.size() && (slot & 0xffff) < MAX_SLOTS;
  }

  /** The slots of the first address space, lowest gfn first. */
  public List<Memslot> all() {
    return spaces.get(0).current().slots;
  }

  /** The slots of every address space, each one's by user address. */
  List<Memslot> everywhereByHva() {
    Comparator<Memslot> byHva = Comparator.comparingLong(slot -> slot.region().hva());
    return spaces.stream().flatMap(space -> space.current().slots.stream().sorted(byHva)).toList();
  }

  /** The slots of an address space that share a frame with the range, lowest gfn first. */
  List<Memslot> overlapping(int asId, GfnRange range) {
    return spaces.get(asId).current().slots.stream().filter(s -> s.gfns().overlaps(range)).toList();
  }

  /** The generation that MMIO SPTEs remember. */
  long generation(int asId) {
    return spaces.get(asId).current().number;
  }

  /**
   * Publishes the next state of an address space and waits until nobody uses the one before it
   * ({@code kvm_swap_active_memslots}). slots_lock held; may sleep.
   *
   * @return the new generation
   */
  long update(int asId, UnaryOperator<List<Memslot>> change) {
    Space space = spaces.get(asId);
    Generation before = space.current();
    ImmutableList<Memslot> next =
        change.apply(before.slots).stream()
            .sorted(Comparator.comparingLong(s -> s.gfns().start()))
            .collect(ImmutableList.toImmutableList());
    space.publish(new Generation(before.number, next));
    // A fault that still has the old slot would mark pages dirty in a bitmap that is gone, and one
    // that found none would give its MMIO SPTE a generation in which there is memory.
    srcu.synchronize();
    long number = before.number + spaces.size();
    space.publish(new Generation(number, next));
    return number;
  }
}
