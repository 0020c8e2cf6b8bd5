package dev.septum.tdx.module;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.Kernel;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/** The contents of every page that is an S-EPT table, by its HPA. */
final class SeptPages {

  private final Kernel kernel;
  private final ConcurrentHashMap<Long, EntryTable> pages = new ConcurrentHashMap<>();

  SeptPages(Kernel kernel) {
    this.kernel = kernel;
  }

  /** Makes the page a table that maps nothing. */
  void fillFree(long hpa) {
    pages.put(hpa, kernel.entryTable(SeptEntry.FREE, 0).named("S-EPT page"));
  }

  /**
   * Makes the page a table of the pages into which {@code leaf} falls apart.
   *
   * @param level the level of {@code leaf}
   */
  void fillSplit(long hpa, long leaf, int level) {
    pages.put(hpa, kernel.entryTable(leaf, SeptEntry.bytes(level - 1)).named("S-EPT page"));
  }

  /** The table that an entry points to. */
  EntryTable table(long hpa) {
    EntryTable table = pages.get(hpa);
    if (table == null) {
      throw new IllegalStateException("no S-EPT table at HPA 0x" + Long.toHexString(hpa));
    }
    return table;
  }

  @Nullable EntryTable find(long hpa) {
    return pages.get(hpa);
  }

  /** The page is no table any more. */
  void forget(long hpa) {
    pages.remove(hpa);
  }
}
