package dev.septum.tdx.check;

import dev.septum.kernel.PageOwner;
import dev.septum.kvm.ExternalTable;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.VcpuTdx;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxModuleView;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A TD's Secure EPT, as the module has it. A leaf that is blocked is none: no access gets by it.
 */
public final class TdExternalTable implements ExternalTable {

  private final KvmTdx kvm;
  private final TdxModuleView module;

  /** What the module shows of a TD. */
  public TdExternalTable(KvmTdx kvm) {
    this.kvm = kvm;
    this.module = kvm.tdxHost().module().view();
  }

  @Override
  public List<Leaf> leafs() {
    return module.leafs(kvm.tdr() << 12).stream()
        .filter(TdExternalTable::isMapped)
        .map(TdExternalTable::leaf)
        .toList();
  }

  private static boolean isMapped(TdxModuleView.SeptLeaf leaf) {
    return leaf.state() == SeptState.MAPPED || leaf.state() == SeptState.PENDING;
  }

  private static Leaf leaf(TdxModuleView.SeptLeaf leaf) {
    return new Leaf(leaf.gpa() >>> 12, HostInvariants.levelOf(leaf.level()), leaf.hpa() >>> 12);
  }

  @Override
  public List<Table> tables() {
    return module.tables(kvm.tdr() << 12).stream()
        .map(
            table ->
                new Table(
                    table.gpa() >>> 12, HostInvariants.levelOf(table.level()), table.hpa() >>> 12))
        .toList();
  }

  @Override
  public @Nullable Leaf walk(long gfn) {
    TdxModuleView.SeptLeaf leaf = module.leafAt(kvm.tdr() << 12, gfn << 12);
    return leaf != null && isMapped(leaf) ? leaf(leaf) : null;
  }

  /** Pages in tables and caches; the host's page pairs are no one TD's. */
  @Override
  public Map<PageOwner, Long> pages() {
    Map<PageOwner, Long> pages = new EnumMap<>(PageOwner.class);
    pages.put(PageOwner.SEPT_PAGE, (long) tables().size());
    long pamt = kvm.splitCacheCount();
    long sept = 0;
    for (VcpuTdx vcpu : kvm.tdVcpus()) {
      pamt += vcpu.cachedPamtPages();
      sept += vcpu.cachedSeptPages();
    }
    pages.put(PageOwner.PAMT_CACHE, pamt);
    pages.put(PageOwner.EXTERNAL_PAGE_TABLE, sept);
    return pages;
  }

  @Override
  public long splitCachePages() {
    return kvm.splitCacheCount();
  }

  @Override
  public long splitCacheNeed() {
    return kvm.tdxHost().dpamt().entryPages() * 2L;
  }
}
