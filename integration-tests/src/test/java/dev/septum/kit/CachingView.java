package dev.septum.kit;

import dev.septum.kernel.PageOwner;
import dev.septum.kvm.ExternalTable;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** What a {@link CachingVm} shows; a page of a table is the owner's that the host says. */
class CachingView implements ExternalTable {

  private final CachingVm vm;

  CachingView(CachingVm vm) {
    this.vm = vm;
  }

  @Override
  public List<Leaf> leafs() {
    return vm.table().leafs();
  }

  @Override
  public List<Table> tables() {
    return vm.table().tables();
  }

  @Override
  public @Nullable Leaf walk(long gfn) {
    return vm.table().walk(gfn);
  }

  @Override
  public Map<PageOwner, Long> pages() {
    Map<PageOwner, Long> pages = new EnumMap<>(vm.table().pages());
    pages.put(PageOwner.SEPT_PAGE, 0L);
    tables().forEach(table -> pages.merge(vm.pages().ownerOf(table.pfn()), 1L, Long::sum));
    pages.put(PageOwner.PAMT_CACHE, (long) vm.queue.size());
    pages.put(PageOwner.PAMT_PAGE, (long) vm.drawn.size());
    return pages;
  }

  @Override
  public long splitCachePages() {
    return vm.count.get();
  }

  @Override
  public long splitCacheNeed() {
    return CachingOps.NEED;
  }
}
