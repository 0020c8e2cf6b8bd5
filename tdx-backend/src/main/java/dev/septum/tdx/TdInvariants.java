package dev.septum.tdx;

import com.google.errorprone.annotations.FormatMethod;
import dev.septum.dpamt.Dpamt;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.MmuView;
import dev.septum.tdx.module.TdxModuleView;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * What must hold between KVM's books, the module's and the host's, whenever nothing runs. For
 * checkers and reports: it looks into the module, which KVM's side never does.
 */
public final class TdInvariants {

  private final TdxHost host;
  private final List<KvmTdx> tds;
  private final List<String> found = new ArrayList<>();

  private TdInvariants(List<KvmTdx> tds) {
    this.tds = tds;
    this.host = tds.get(0).tdxHost();
  }

  /**
   * What does not hold, one sentence each. {@code tds} are all the TDs of one host, at least one.
   */
  public static List<String> violations(List<KvmTdx> tds) {
    TdInvariants check = new TdInvariants(tds);
    tds.forEach(check::checkTd);
    check.checkModule();
    check.checkPamt();
    check.checkPages();
    tds.get(0).kernel().locks().assertNoneHeld("a check of all invariants");
    return check.found;
  }

  private record Mapping(long gpa, int level, long hpa) {}

  private void checkTd(KvmTdx kvm) {
    found.addAll(new MmuView(kvm.mmu()).violations());
    if (kvm.isBugged()) {
      add("VM %d is bugged", kvm.id());
    }
    if (kvm.hasHkid()) {
      compareTables(kvm);
    }
  }

  /** The mirror and the Secure EPT map the same pages at the same levels. */
  private void compareTables(KvmTdx kvm) {
    List<Mapping> mirror = new ArrayList<>();
    MmuView mmu = new MmuView(kvm.mmu());
    for (MappedLeaf leaf : mmu.mirrorLeafs()) {
      mirror.add(new Mapping(leaf.gfn() << 12, leaf.level().number() - 1, leaf.pfn() << 12));
    }
    List<Mapping> secure = new ArrayList<>();
    for (TdxModuleView.SeptLeaf leaf : host.module().view().leafs(kvm.tdr() << 12)) {
      secure.add(new Mapping(leaf.gpa(), leaf.level(), leaf.hpa()));
      if (leaf.locked()) {
        add("the S-EPT leaf at GPA 0x%x is locked", leaf.gpa());
      }
      if (!leaf.state().name().equals("MAPPED") && !leaf.state().name().equals("PENDING")) {
        add("the S-EPT leaf at GPA 0x%x is %s", leaf.gpa(), leaf.state());
      }
    }
    secure.sort(Comparator.comparingLong(Mapping::gpa));
    if (!mirror.equals(secure)) {
      List<Mapping> onlyMirror = new ArrayList<>(mirror);
      onlyMirror.removeAll(secure);
      List<Mapping> onlySecure = new ArrayList<>(secure);
      onlySecure.removeAll(mirror);
      add(
          "only the mirror of VM %d has %s, only its S-EPT has %s",
          kvm.id(), onlyMirror, onlySecure);
    }
    long tables = host.module().view().tables(kvm.tdr() << 12).size();
    if (mmu.externalTables() != tables) {
      add("VM %d links %d S-EPT pages, the module %d", kvm.id(), mmu.externalTables(), tables);
    }
  }

  private void checkModule() {
    found.addAll(host.module().view().violations());
  }

  /** The refcount of a 2 MiB range is the number of pages in it that need 4K PAMT. */
  private void checkPamt() {
    Dpamt dpamt = host.dpamt();
    if (!dpamt.isEnabled()) {
      return;
    }
    Map<Long, Long> users = new HashMap<>();
    TdxModuleView view = host.module().view();
    for (KvmTdx kvm : tds) {
      new MmuView(kvm.mmu())
          .mirrorLeafs().stream()
              .filter(leaf -> leaf.level() == PageLevel.LEVEL_4K)
              .forEach(leaf -> count(users, leaf.pfn()));
      view.tables(kvm.tdr() << 12).forEach(table -> count(users, table.hpa() >>> 12));
      controlPages(kvm).forEach(pfn -> count(users, pfn));
    }
    Map<Long, Long> counted =
        dpamt.refcounts().entrySet().stream()
            .collect(Collectors.toMap(e -> e.getKey() & -512L, Map.Entry::getValue));
    if (!counted.equals(users)) {
      add("PAMT refcounts are %s, users are %s", counted, users);
    }
    if (view.pamtPairs().size() != counted.size()) {
      add("%d ranges have users, %d a page pair", counted.size(), view.pamtPairs().size());
    }
  }

  private static List<Long> controlPages(KvmTdx kvm) {
    List<Long> pages = new ArrayList<>(kvm.tdcx());
    if (kvm.tdr() != PageAllocator.NO_PAGE) {
      pages.add(kvm.tdr());
    }
    for (VcpuTdx vcpu : kvm.tdVcpus()) {
      pages.addAll(vcpu.tdcx());
      if (vcpu.tdvpr() != PageAllocator.NO_PAGE) {
        pages.add(vcpu.tdvpr());
      }
    }
    return pages;
  }

  private static void count(Map<Long, Long> users, long pfn) {
    users.merge(pfn & -512L, 1L, Long::sum);
  }

  /** Every page is where its owner's own count says it is. */
  private void checkPages() {
    PageAllocator pages = host.host().pages();
    Map<PageOwner, Long> census = pages.census();
    if (!census.equals(pages.recount())) {
      add("pages are counted as %s, but there are %s", census, pages.recount());
    }
    long tables = 0;
    long septPages = 0;
    for (KvmTdx kvm : tds) {
      MmuView mmu = new MmuView(kvm.mmu());
      tables += mmu.tables() + mmu.cachedTables();
      septPages += host.module().view().tables(kvm.tdr() << 12).size();
    }
    expect(census, PageOwner.MMU_PAGE_TABLE, tables);
    expect(census, PageOwner.SEPT_PAGE, septPages);
    expect(census, PageOwner.PAMT_PAGE, 2L * host.dpamt().pairsInstalled());
    long control = tds.stream().mapToLong(kvm -> controlPages(kvm).size()).sum();
    expect(census, PageOwner.TD_CONTROL, control);
  }

  private void expect(Map<PageOwner, Long> census, PageOwner owner, long count) {
    long counted = census.getOrDefault(owner, 0L);
    if (counted != count) {
      add("%d pages belong to %s, but %d are in use as such", counted, owner.tag(), count);
    }
  }

  @FormatMethod
  private void add(String sentence, Object... arguments) {
    found.add(sentence.formatted(arguments));
  }
}
