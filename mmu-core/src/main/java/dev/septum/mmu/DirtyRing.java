package dev.septum.mmu;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.SharedWord;
import java.util.ArrayList;
import java.util.List;

/**
 * The pages that one vCPU dirtied, in a ring that user space reads ({@code kvm_dirty_ring}).
 *
 * <p>The vCPU's thread pushes, user space collects, and KVM takes back under slots_lock what was
 * collected. An entry's state, written last, hands it from one to the next. Indices run on and are
 * masked.
 */
public final class DirtyRing {

  /** A dirtied page, as user space reads it: address space and slot, and the page in the slot. */
  public record Entry(int slot, long offset) {}

  /** Bytes of one entry ({@code struct kvm_dirty_gfn}). */
  static final int ENTRY_BYTES = 16;

  static final long MAX_BYTES = 65536L * ENTRY_BYTES;

  /** Entries kept free for what is dirtied between a full ring and the exit. */
  static final int RESERVED_ENTRIES = 64;

  private static final long INVALID = 0;
  private static final long DIRTY = 1;
  private static final long COLLECTED = 2;

  private final int vcpuId;
  private final Entry[] entries;
  private final EntryTable[] states;
  private final SharedWord dirtyIndex;
  private final SharedWord resetIndex;

  /** User space's own. */
  private long collectIndex;

  DirtyRing(Kernel kernel, int vcpuId, int size) {
    this.vcpuId = vcpuId;
    this.entries = new Entry[size];
    this.states = new EntryTable[(size + EntryTable.ENTRIES - 1) / EntryTable.ENTRIES];
    for (int i = 0; i < states.length; i++) {
      states[i] = kernel.entryTable(INVALID, 0).named("dirty_gfns");
    }
    this.dirtyIndex = kernel.word(0).named("dirty_index");
    this.resetIndex = kernel.word(0).named("reset_index");
  }

  int vcpuId() {
    return vcpuId;
  }

  long dirtyIndex() {
    return dirtyIndex.get();
  }

  long resetIndex() {
    return resetIndex.get();
  }

  /** Entries that were pushed and not taken back. */
  public int used() {
    return (int) (dirtyIndex.get() - resetIndex.get());
  }

  /** Whether the vCPU must leave to user space before it dirties more. */
  public boolean isSoftFull() {
    return used() >= entries.length - RESERVED_ENTRIES;
  }

  /** Adds a page ({@code kvm_dirty_ring_push}); the vCPU's thread, which left while soft-full. */
  void push(int slot, long offset) {
    if (used() == entries.length) {
      throw new IllegalStateException("the dirty ring of vCPU %d is full".formatted(vcpuId));
    }
    int at = at(dirtyIndex.get());
    entries[at] = new Entry(slot, offset);
    setState(at, DIRTY);
    dirtyIndex.addAndGet(1);
  }

  /** User space: reads what is new and marks it as read. */
  public List<Entry> collect() {
    List<Entry> collected = new ArrayList<>();
    while (state(at(collectIndex)) == DIRTY) {
      int at = at(collectIndex++);
      collected.add(entries[at]);
      setState(at, COLLECTED);
    }
    return collected;
  }

  /** Takes back what user space has read, oldest first. slots_lock held. */
  List<Entry> takeCollected() {
    List<Entry> taken = new ArrayList<>();
    while (state(at(resetIndex.get())) == COLLECTED) {
      int at = at(resetIndex.get());
      taken.add(entries[at]);
      setState(at, INVALID);
      resetIndex.addAndGet(1);
    }
    return taken;
  }

  private int at(long index) {
    return (int) index & (entries.length - 1);
  }

  private long state(int at) {
    return states[at / EntryTable.ENTRIES].get(at % EntryTable.ENTRIES);
  }

  private void setState(int at, long state) {
    states[at / EntryTable.ENTRIES].set(at % EntryTable.ENTRIES, state);
  }
}
