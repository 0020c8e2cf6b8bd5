package dev.septum.tdx.check;

import com.google.common.collect.Sets;
import com.google.errorprone.annotations.FormatMethod;
import dev.septum.dpamt.Dpamt;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.MappedTable;
import dev.septum.mmu.MmuView;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.VcpuTdx;
import dev.septum.tdx.module.PageType;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxModuleView;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What holds for a host at rest, over everything that KVM, the module and Dynamic PAMT have: mirror
 * and Secure EPT are the same, every page pair has its users, every page its reason.
 */
public final class HostInvariants {

  /** Types of pages that the module always uses at 4K. */
  private static final Set<PageType> SMALL_TYPES =
      Set.of(PageType.TDR, PageType.TDCX, PageType.TDVPR, PageType.EPT);

  /** A leaf as both sides have it. */
  private record Leaf(long gfn, PageLevel level, long pfn) {}

  private final TdxHost host;
  private final PageAllocator pages;
  private final TdxModuleView module;
  private final HostContents contents;
  private final List<String> found = new ArrayList<>();

  private HostInvariants(TdxHost host, HostContents contents) {
    this.host = host;
    this.pages = host.host().pages();
    this.module = host.module().view();
    this.contents = contents;
  }

  /**
   * One sentence for each invariant that does not hold. The VMs are all that there are on the host;
   * nothing may run meanwhile.
   */
  public static List<String> violations(TdxHost host, List<Vmm> vmms) {
    return violations(host, HostContents.of(vmms));
  }

  /** The same of everything that is on the host. */
  public static List<String> violations(TdxHost host, HostContents contents) {
    HostInvariants all = new HostInvariants(host, contents);
    host.host().kernel().locks().assertNoneHeld("a check of the invariants");
    all.found.addAll(host.module().view().violations());
    contents.tds().forEach(all::checkTd);
    contents.ordinary().forEach(all::checkMmu);
    all.checkPamt();
    all.checkPages();
    return all.found;
  }

  private void checkTd(KvmTdx kvm) {
    MmuView mmu = new MmuView(kvm.mmu());
    checkLeafs(kvm, mmu.mirrorLeafs(), module.leafs(kvm.tdr() << 12));
    checkTables(kvm, mmu.mirrorTables(), module.tables(kvm.tdr() << 12));
    checkMmu(kvm.mmu());
  }

  private void checkMmu(KvmMmu mmu) {
    Kvm kvm = mmu.kvm();
    new MmuView(mmu).violations().forEach(sentence -> report("VM %d: %s", kvm.id(), sentence));
    if (kvm.isBugged()) {
      report("VM %d is bugged: %s", kvm.id(), String.valueOf(kvm.splat()));
    }
  }

  private void checkLeafs(KvmTdx kvm, List<MappedLeaf> mirror, List<TdxModuleView.SeptLeaf> sept) {
    Set<Leaf> inMirror = new LinkedHashSet<>();
    mirror.forEach(leaf -> inMirror.add(new Leaf(leaf.gfn(), leaf.level(), leaf.pfn())));
    Set<Leaf> inSept = new LinkedHashSet<>();
    for (TdxModuleView.SeptLeaf leaf : sept) {
      inSept.add(new Leaf(leaf.gpa() >>> 12, levelOf(leaf.level()), leaf.hpa() >>> 12));
      if (leaf.state() != SeptState.MAPPED && leaf.state() != SeptState.PENDING) {
        report("VM %d: the leaf at gfn 0x%x is %s", kvm.id(), leaf.gpa() >>> 12, leaf.state());
      }
      if (leaf.locked()) {
        report("VM %d: the leaf at gfn 0x%x is locked", kvm.id(), leaf.gpa() >>> 12);
      }
      if (!pages.isOwnedBy(
          PageOwner.GUEST_MEMORY, leaf.hpa() >>> 12, levelOf(leaf.level()).pages())) {
        report(
            "VM %d: the leaf at gfn 0x%x still has pages that the host took for other uses",
            kvm.id(), leaf.gpa() >>> 12);
      }
    }
    Sets.difference(inMirror, inSept)
        .forEach(leaf -> report("VM %d: the S-EPT lacks %s of the mirror", kvm.id(), leaf));
    Sets.difference(inSept, inMirror)
        .forEach(leaf -> report("VM %d: the mirror lacks %s of the S-EPT", kvm.id(), leaf));
  }

  private void checkTables(
      KvmTdx kvm, List<MappedTable> mirror, List<TdxModuleView.SeptTable> sept) {
    Set<MappedTable> inMirror = new LinkedHashSet<>(mirror);
    Set<MappedTable> inSept = new LinkedHashSet<>();
    for (TdxModuleView.SeptTable table : sept) {
      inSept.add(new MappedTable(table.gpa() >>> 12, levelOf(table.level()), table.hpa() >>> 12));
    }
    Sets.difference(inMirror, inSept)
        .forEach(table -> report("VM %d: the S-EPT lacks %s of the mirror", kvm.id(), table));
    Sets.difference(inSept, inMirror)
        .forEach(table -> report("VM %d: the mirror lacks %s of the S-EPT", kvm.id(), table));
  }

  /** A pair for each range with a 4K page of the module in it, and as many users as such pages. */
  private void checkPamt() {
    Dpamt dpamt = host.dpamt();
    if (!dpamt.isEnabled()) {
      return;
    }
    Map<Long, Long> users = usersOfRanges();
    Map<Long, Long> refcounts = dpamt.refcounts();
    for (long range : Sets.union(users.keySet(), refcounts.keySet())) {
      long counted = users.getOrDefault(range, 0L);
      long refcount = refcounts.getOrDefault(range, 0L);
      if (counted != refcount) {
        report("the range at pfn 0x%x has %d users, refcount %d", range, counted, refcount);
      }
    }
    Set<Long> backed = new HashSet<>();
    module.pamtPairs().keySet().forEach(hpa -> backed.add(hpa >>> 12));
    Sets.symmetricDifference(backed, refcounts.keySet())
        .forEach(
            range ->
                report(
                    "the range at pfn 0x%x has %s pair, refcount %d",
                    range, backed.contains(range) ? "a" : "no", refcounts.getOrDefault(range, 0L)));
    if (dpamt.pairsInstalled() != backed.size()) {
      report("%d pairs counted, the module has %d", dpamt.pairsInstalled(), backed.size());
    }
  }

  private Map<Long, Long> usersOfRanges() {
    Map<Long, Long> users = new HashMap<>();
    module
        .assignedPages()
        .forEach(
            (hpa, type) -> {
              if (SMALL_TYPES.contains(type)) {
                users.merge(rangeOf(hpa), 1L, Long::sum);
              }
            });
    for (KvmTdx kvm : contents.tds()) {
      for (TdxModuleView.SeptLeaf leaf : module.leafs(kvm.tdr() << 12)) {
        if (leaf.level() == 0) {
          users.merge(rangeOf(leaf.hpa()), 1L, Long::sum);
        }
      }
    }
    return users;
  }

  /** Every owner has as many pages as there are reasons for it to have one. */
  private void checkPages() {
    Map<PageOwner, Long> census = pages.census();
    Map<PageOwner, Long> recount = pages.recount();
    if (!census.equals(recount)) {
      report("the census %s is not the recount %s", census, recount);
    }
    Map<PageOwner, Long> reasons = new EnumMap<>(PageOwner.class);
    Map<PageType, Long> types = module.census();
    reasons.put(PageOwner.SEPT_PAGE, types.getOrDefault(PageType.EPT, 0L));
    reasons.put(PageOwner.PAMT_PAGE, 2L * module.pamtPairs().size());
    reasons.put(
        PageOwner.TD_CONTROL,
        types.getOrDefault(PageType.TDR, 0L)
            + types.getOrDefault(PageType.TDCX, 0L)
            + types.getOrDefault(PageType.TDVPR, 0L));
    reasons.put(PageOwner.MMU_PAGE_TABLE, 0L);
    reasons.put(PageOwner.EXTERNAL_PAGE_TABLE, 0L);
    reasons.put(PageOwner.PAMT_CACHE, 0L);
    reasons.put(PageOwner.USER_MEMORY, contents.userPages());
    reasons.put(
        PageOwner.GUEST_MEMORY,
        contents.files().stream().mapToLong(GuestMemfd::allocatedFrames).sum());
    contents.ordinary().forEach(mmu -> addTables(mmu, reasons));
    contents.tds().forEach(kvm -> addReasons(kvm, reasons));
    long owned = reasons.values().stream().mapToLong(Long::longValue).sum();
    reasons.put(PageOwner.FREE, pages.totalPages() - owned);
    reasons.forEach(
        (owner, expected) -> {
          long actual = census.getOrDefault(owner, 0L);
          if (actual != expected) {
            report("%s has %d pages, and reasons for %d", owner.tag(), actual, expected);
          }
        });
  }

  private static void addReasons(KvmTdx kvm, Map<PageOwner, Long> reasons) {
    addTables(kvm.mmu(), reasons);
    add(reasons, PageOwner.PAMT_CACHE, kvm.splitCacheCount());
    for (VcpuTdx vcpu : kvm.tdVcpus()) {
      add(reasons, PageOwner.PAMT_CACHE, vcpu.cachedPamtPages());
      add(reasons, PageOwner.EXTERNAL_PAGE_TABLE, vcpu.cachedSeptPages());
    }
  }

  private static void addTables(KvmMmu mmu, Map<PageOwner, Long> reasons) {
    MmuView view = new MmuView(mmu);
    add(reasons, PageOwner.MMU_PAGE_TABLE, view.tables() + view.cachedTables());
  }

  private static void add(Map<PageOwner, Long> reasons, PageOwner owner, long count) {
    reasons.merge(owner, count, Long::sum);
  }

  /** KVM's level of an S-EPT level. */
  static PageLevel levelOf(int septLevel) {
    return PageLevel.of(septLevel + 1);
  }

  private static long rangeOf(long hpa) {
    return hpa >>> 12 & -PageAllocator.RANGE_PAGES;
  }

  @FormatMethod
  private void report(String format, Object... arguments) {
    found.add(format.formatted(arguments));
  }
}
