package dev.septum.mmu.vmm;

import com.google.common.collect.Sets;
import com.google.errorprone.annotations.FormatMethod;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.Kvm;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.MmuView;
import java.util.ArrayList;
import java.util.Collection;
import java.util.EnumMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What holds for VMs of any backend at rest: mirror and external page table are the same, every
 * page has its reason.
 */
public final class BackendInvariants {

  private final List<String> found = new ArrayList<>();

  private BackendInvariants() {}

  /**
   * What is on the host beside TDs.
   *
   * @param userPages pages of the VMMs' own memory
   * @param files every guest_memfd
   */
  public record Contents(
      List<BackendVm> vms, List<KvmMmu> ordinary, long userPages, Collection<GuestMemfd> files) {

    /** VMs whose memory was added by {@link BackendVm#addMemory}, and nothing else. */
    public static Contents of(List<BackendVm> vms) {
      return new Contents(
          vms,
          List.of(),
          vms.stream().mapToLong(vm -> vm.userMemory().populated()).sum(),
          vms.stream().flatMap(vm -> vm.files().stream()).toList());
    }
  }

  /** One sentence for each invariant that does not hold. Nothing may run meanwhile. */
  public static List<String> violations(PageAllocator pages, Contents contents) {
    BackendInvariants all = new BackendInvariants();
    for (BackendVm vm : contents.vms()) {
      all.checkVm(vm.mmu());
      all.checkTables(vm);
    }
    contents.ordinary().forEach(all::checkVm);
    all.checkPages(pages, contents);
    return all.found;
  }

  private void checkVm(KvmMmu mmu) {
    Kvm kvm = mmu.kvm();
    kvm.kernel().locks().assertNoneHeld("a check of the invariants");
    new MmuView(mmu).violations().forEach(sentence -> report("VM %d: %s", kvm.id(), sentence));
    if (kvm.isBugged()) {
      report("VM %d is bugged: %s", kvm.id(), String.valueOf(kvm.splat()));
    }
  }

  private void checkTables(BackendVm vm) {
    MmuView mirror = new MmuView(vm.mmu());
    Set<ExternalTable.Leaf> leafs = new LinkedHashSet<>();
    mirror
        .mirrorLeafs()
        .forEach(l -> leafs.add(new ExternalTable.Leaf(l.gfn(), l.level(), l.pfn())));
    compare(vm, leafs, new LinkedHashSet<>(vm.externalTable().leafs()));
    Set<ExternalTable.Table> tables = new LinkedHashSet<>();
    mirror
        .mirrorTables()
        .forEach(t -> tables.add(new ExternalTable.Table(t.gfn(), t.level(), t.externalSpt())));
    compare(vm, tables, new LinkedHashSet<>(vm.externalTable().tables()));
  }

  private <T> void compare(BackendVm vm, Set<T> mirror, Set<T> external) {
    Sets.difference(mirror, external)
        .forEach(
            entry ->
                report(
                    "VM %d: the external page table of backend %s lacks %s of the mirror",
                    vm.kvm().id(), vm.backend().name(), entry));
    Sets.difference(external, mirror)
        .forEach(
            entry ->
                report(
                    "VM %d: the mirror lacks %s of the external page table of backend %s",
                    vm.kvm().id(), entry, vm.backend().name()));
  }

  /** Every owner has as many pages as there are reasons for it to have one. */
  private void checkPages(PageAllocator pages, Contents contents) {
    Map<PageOwner, Long> reasons = new EnumMap<>(PageOwner.class);
    for (PageOwner owner : PageOwner.values()) {
      reasons.put(owner, 0L);
    }
    reasons.put(PageOwner.USER_MEMORY, contents.userPages());
    reasons.put(
        PageOwner.GUEST_MEMORY,
        contents.files().stream().mapToLong(GuestMemfd::allocatedFrames).sum());
    contents.ordinary().forEach(mmu -> addTables(mmu, reasons));
    for (BackendVm vm : contents.vms()) {
      addTables(vm.mmu(), reasons);
      vm.externalTable().pages().forEach((owner, count) -> reasons.merge(owner, count, Long::sum));
    }
    reasons.remove(PageOwner.FREE);
    Map<PageOwner, Long> census = pages.census();
    reasons.forEach(
        (owner, expected) -> {
          long actual = census.getOrDefault(owner, 0L);
          if (actual != expected) {
            report("%s has %d pages, and reasons for %d", owner.tag(), actual, expected);
          }
        });
  }

  private static void addTables(KvmMmu mmu, Map<PageOwner, Long> reasons) {
    MmuView view = new MmuView(mmu);
    reasons.merge(PageOwner.MMU_PAGE_TABLE, view.tables() + view.cachedTables(), Long::sum);
  }

  @FormatMethod
  private void report(String format, Object... arguments) {
    found.add(format.formatted(arguments));
  }
}
