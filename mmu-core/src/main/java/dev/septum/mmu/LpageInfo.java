package dev.septum.mmu;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.Kernel;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import java.util.function.LongUnaryOperator;

/**
 * Where a memslot allows no huge page of one level ({@code kvm_lpage_info}): a count of reasons and
 * two flags for each range of that level. Read without a lock. Written under slots_lock or
 * mmu_lock, of which the read lock is enough: each write is one exchange.
 */
final class LpageInfo {

  /** The range has both private and shared frames ({@code KVM_LPAGE_MIXED_FLAG}). */
  static final long MIXED = 1L << 31;

  /** The guest accepted a part of the range ({@code KVM_LPAGE_GUEST_INHIBIT_FLAG}). */
  static final long GUEST_INHIBIT = 1L << 30;

  private final PageLevel level;
  private final long firstIndex;
  private final EntryTable[] counts;

  LpageInfo(Kernel kernel, PageLevel level, GfnRange slot, boolean congruent) {
    this.level = level;
    this.firstIndex = slot.start() / level.pages();
    long last = (slot.end() - 1) / level.pages() - firstIndex;
    counts = new EntryTable[Math.toIntExact(last / EntryTable.ENTRIES + 1)];
    for (int i = 0; i < counts.length; i++) {
      counts[i] = kernel.entryTable(congruent ? 0 : 1, 0).named("lpage_info");
    }
    if (congruent && !level.isAligned(slot.start())) {
      add(slot.start(), 1);
    }
    if (congruent && !level.isAligned(slot.end()) && (last > 0 || get(slot.start()) == 0)) {
      add(slot.end() - 1, 1);
    }
  }

  /** Whether a huge page of this level may cover the gfn. */
  boolean isAllowed(long gfn) {
    return get(gfn) == 0;
  }

  boolean has(long gfn, long flag) {
    return (get(gfn) & flag) != 0;
  }

  void set(long gfn, long flag) {
    update(gfn, reasons -> reasons | flag);
  }

  void clear(long gfn, long flag) {
    update(gfn, reasons -> reasons & ~flag);
  }

  private long get(long gfn) {
    int i = index(gfn);
    return counts[i / EntryTable.ENTRIES].get(i % EntryTable.ENTRIES);
  }

  private void add(long gfn, long delta) {
    update(gfn, reasons -> reasons + delta);
  }

  private void update(long gfn, LongUnaryOperator change) {
    int i = index(gfn);
    EntryTable table = counts[i / EntryTable.ENTRIES];
    int entry = i % EntryTable.ENTRIES;
    long old = table.get(entry);
    while (change.applyAsLong(old) != old) {
      // Two vCPUs that hold mmu_lock for read may set the same flag: added twice, GUEST_INHIBIT
      // would become MIXED.
      long found = table.compareAndExchange(entry, old, change.applyAsLong(old));
      if (found == old) {
        return;
      }
      old = found;
    }
  }

  private int index(long gfn) {
    return Math.toIntExact(gfn / level.pages() - firstIndex);
  }
}
