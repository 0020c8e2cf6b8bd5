package dev.septum.kvm;

import dev.septum.kernel.PageOwner;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What a backend shows of one VM: its external page table as the guest's accesses meet it, and the
 * pages that it has. Guests, checkers and the conformance kit look; nothing changes by it.
 *
 * <p>Lists are asked for while nothing else happens to the VM; {@link #walk} at any time.
 */
public interface ExternalTable {

  /** A VM without an external page table. */
  ExternalTable NONE =
      new ExternalTable() {
        @Override
        public List<Leaf> leafs() {
          return List.of();
        }

        @Override
        public List<Table> tables() {
          return List.of();
        }

        @Override
        public @Nullable Leaf walk(long gfn) {
          return null;
        }

        @Override
        public Map<PageOwner, Long> pages() {
          return Map.of();
        }
      };

  /** A mapping: {@code level.pages()} frames of the guest from {@code gfn} on. */
  record Leaf(long gfn, PageLevel level, long pfn) {}

  /**
   * A table page below the root.
   *
   * @param gfn first guest frame that the table covers
   * @param level level of the entry that points to the table, 2M or more
   */
  record Table(long gfn, PageLevel level, long pfn) {}

  /** Every leaf, lowest gfn first. */
  List<Leaf> leafs();

  /** Every table below the root, in any order. */
  List<Table> tables();

  /** The leaf that an access to a guest frame ends at, or null. */
  @Nullable Leaf walk(long gfn);

  /**
   * Pages that the backend has of the host's memory for this VM, by owner: in its tables, in the
   * caches of the VM and of its vCPUs, in its own structures. The guest's memory is not among them.
   */
  Map<PageOwner, Long> pages();

  /** Pages in the VM's cache for splits. */
  default long splitCachePages() {
    return 0;
  }

  /** Pages that one split may draw from that cache, at most. */
  default long splitCacheNeed() {
    return 0;
  }
}
