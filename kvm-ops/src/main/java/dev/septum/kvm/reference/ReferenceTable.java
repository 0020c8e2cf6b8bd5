package dev.septum.kvm.reference;

import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.SpinLock;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** An external page table: leafs by gfn, tables by the pfns of their pages. */
public final class ReferenceTable implements ExternalTable {

  private final Kvm kvm;
  private final SpinLock lock;
  private final TreeMap<Long, Leaf> leafs = new TreeMap<>();
  private final Map<Long, Table> tables = new HashMap<>();

  ReferenceTable(Kvm kvm) {
    this.kvm = kvm;
    this.lock = kvm.kernel().spinLock(LockClass.EXTERNAL_TABLE_LOCK);
  }

  private <T> T locked(Supplier<T> body) {
    lock.lock();
    try {
      return body.get();
    } finally {
      lock.unlock();
    }
  }

  /** Adds a table whose page is the backend's already; false if the page is a table. */
  boolean addTable(long gfn, PageLevel level, long pfn) {
    return locked(() -> tables.putIfAbsent(pfn, new Table(gfn, level, pfn)) == null);
  }

  boolean removeTable(long pfn) {
    return locked(() -> tables.remove(pfn) != null);
  }

  /** Adds a leaf; false if a leaf is in its way. */
  boolean addLeaf(long gfn, PageLevel level, long pfn) {
    return locked(
        () -> {
          Long next = leafs.ceilingKey(gfn);
          boolean isFree =
              overlapping(gfn) == null && (next == null || next >= gfn + level.pages());
          if (isFree) {
            leafs.put(gfn, new Leaf(gfn, level, pfn));
          }
          return isFree;
        });
  }

  boolean removeLeaf(long gfn, PageLevel level) {
    return locked(() -> isLeaf(gfn, level) && leafs.remove(gfn) != null);
  }

  /** Puts a table of 512 leafs in a leaf's place; false if there is no such leaf. */
  boolean splitLeaf(long gfn, PageLevel level, long tablePfn) {
    return locked(
        () -> {
          Leaf huge = leafs.get(gfn);
          if (huge == null || huge.level() != level) {
            return false;
          }
          PageLevel small = level.below();
          for (long offset = 0; offset < level.pages(); offset += small.pages()) {
            leafs.put(gfn + offset, new Leaf(gfn + offset, small, huge.pfn() + offset));
          }
          tables.put(tablePfn, new Table(gfn, level, tablePfn));
          return true;
        });
  }

  private boolean isLeaf(long gfn, PageLevel level) {
    Leaf leaf = leafs.get(gfn);
    return leaf != null && leaf.level() == level;
  }

  private @Nullable Leaf overlapping(long gfn) {
    Map.Entry<Long, Leaf> entry = leafs.floorEntry(gfn);
    boolean covers = entry != null && gfn < entry.getKey() + entry.getValue().level().pages();
    return covers ? entry.getValue() : null;
  }

  @Override
  public List<Leaf> leafs() {
    return locked(() -> List.copyOf(leafs.values()));
  }

  @Override
  public List<Table> tables() {
    return locked(() -> List.copyOf(tables.values()));
  }

  @Override
  public @Nullable Leaf walk(long gfn) {
    lock.lock();
    try {
      return overlapping(gfn);
    } finally {
      lock.unlock();
    }
  }

  @Override
  public Map<PageOwner, Long> pages() {
    Map<PageOwner, Long> pages = new EnumMap<>(PageOwner.class);
    pages.put(PageOwner.SEPT_PAGE, (long) tables().size());
    long cached = 0;
    for (Vcpu vcpu : kvm.vcpus()) {
      cached += ((ReferenceVcpu) vcpu).cachedPages();
    }
    pages.put(PageOwner.EXTERNAL_PAGE_TABLE, cached);
    return pages;
  }
}
