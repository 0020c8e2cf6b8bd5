package dev.septum.lab.defects;

import static com.google.common.base.Preconditions.checkArgument;

import com.google.common.collect.ImmutableList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/** Every known defect of the huge page series v3, of Dynamic PAMT v4, and of their successor v5. */
public final class Catalogue {

  private static final String ONLY_V5 = "it is in v5, which is modelled by neither backend";

  /** The defects by id: D1 to D11, those of Dynamic PAMT v4, then a to h of the review of v5. */
  public static final ImmutableList<Defect> ALL =
      ImmutableList.of(
          Defect.shown(
              "D1",
              "The error of a split is stored in a bool and becomes 1",
              "huge pages v3 11/24, kvm_split_cross_boundary_leafs(); read in the patch",
              "An -ENOMEM is lost: KVM_SET_MEMORY_ATTRIBUTES changes the attributes and leaves the"
                  + " private mapping, PUNCH_HOLE returns 1 and removes nothing, an ACCEPT is"
                  + " resumed into the same EPT violation.",
              new LostError()),
          Defect.shown(
              "D2",
              "The BUSY retry of DEMOTE draws a second page pair",
              "huge pages v3 22/24, tdh_mem_page_demote() inside tdh_do_no_vcpus(); read in the"
                  + " patch",
              "Where the new S-EPT page needed a pair too, the cache of four is empty at the second"
                  + " try: TDX_SW_ERROR, and the VM is bugged by a BUSY that was over.",
              new BusyDrainsCache()),
          Defect.shown(
              "D3",
              "A pair that is half there loses its first page",
              "huge pages v3 22/24, the demote wrapper's allocation; read in the patch",
              "With an odd number of pages in the cache, which two topups at once can leave, the"
                  + " retry takes one page, finds no second and forgets the first.",
              new OddCacheLosesPage()),
          Defect.shown(
              "D4",
              "A failed change of attributes never ends its invalidation",
              "huge pages v3 15/24, kvm_vm_set_mem_attributes(); read in the patch, hidden by D1",
              "Once the error of D1 is returned, every fault in the range retries for ever.",
              new InvalidationStaysBegun()),
          Defect.shown(
              "D5",
              "A failed split leaves the leaf blocked and the mirror split",
              "huge pages v3 07/24 and 08/24, tdp_mmu_set_spte() and"
                  + " tdx_sept_split_private_spte(); read in the patches",
              "KVM counts 512 mapped pages where the S-EPT has one leaf that nobody may use; only"
                  + " the bugged VM keeps anyone from relying on it.",
              new LeafStaysBlocked()),
          Defect.shown(
              "D6",
              "prealloc_split_cache_lock is held while vCPUs are kicked",
              "huge pages v3 22/24, the lock around DEMOTE and its retry; read in the patch",
              "A topup in another thread spins until every vCPU has left the guest.",
              new CacheLockOverKick()),
          Defect.shown(
              "D7",
              "A get that loses its race frees the pair that the cache gave it",
              "Dynamic PAMT v4 08/16 and 12/16, tdx_pamt_get(); read in the patches",
              "Two pages leave the cache for nothing, and the next split has to top up.",
              new LostRaceBurnsPair()),
          Defect.shown(
              "D8",
              "A split without an external page goes on after KVM_BUG_ON",
              "huge pages v3 07/24, the split of a mirror SPTE; read in the patch",
              "The backend blocks the leaf, and then dereferences a null page. No caller is without"
                  + " the page, so that it takes another bug, here a planted one.",
              new SplitWithoutPage()),
          Defect.shown(
              "D9",
              "A split under the read lock is refused for ever",
              "huge pages v3 09/24, kvm_tdp_mmu_map(); read in the patch",
              "A fault that meets a huge mirror leaf gets RET_PF_RETRY each time: the vCPU loops,"
                  + " and user space is never told.",
              new SharedSplitLoops()),
          Defect.shown(
              "D10",
              "The unlocked count of the cache can be read too low",
              "huge pages v3 20/24, tdx_need_topup_vm_split_cache(); read in the patch",
              "One drop of mmu_lock for a topup that finds the cache full. Harmless, and the sound"
                  + " design counts the same way, since nothing is gained by a lock.",
              new CountReadTooLow()),
          Defect.listed(
              "D11",
              "The refcounts of the last range are not freed",
              "Dynamic PAMT v4 06/16: the array is sized rounding up and freed rounding down",
              "At most one page of kernel memory is lost when the module is unloaded.",
              "the memory behind the kernel's own arrays is not modelled"),
          Defect.shown(
              "v4-get",
              "A refused PAMT.ADD is reported as success",
              "Dynamic PAMT v4 08/16, tdx_pamt_get(); found by Sean Christopherson, fixed in v5",
              "The split goes on without a pair, DEMOTE is refused, and the put that undoes the"
                  + " get drives the refcount to -1, which later gets take for a pair.",
              new RefusedAddIsSuccess()),
          Defect.shown(
              "v4-put",
              "A put drops its count before it takes pamt_lock",
              "Dynamic PAMT v4 08/16, tdx_pamt_put(); replaced by atomic_dec_and_lock in v6",
              "A get and a put in between remove the pair first; the delayed put fails to remove it"
                  + " again and leaves a count without a pair.",
              new UnlockedDrop()),
          Defect.listed(
              "a",
              "The mutex of the per-VM cache is never initialised",
              "RFC v5, reported by Yan Zhao",
              "The first split outside a vCPU takes a lock that is not one.",
              ONLY_V5),
          Defect.listed(
              "b",
              "A root is not put on the error path",
              "RFC v5 44/45, found in its review",
              "The root's reference count never reaches 0.",
              ONLY_V5),
          Defect.listed(
              "c",
              "The split of an ACCEPT uses the shared root",
              "RFC v5 41/45, reported by Sean Christopherson",
              "The private leaf is not split.",
              ONLY_V5),
          Defect.listed(
              "d",
              "S-EPT pages are put in softirq context",
              "RFC v5 20/45, reported by Yan Zhao",
              "pamt_lock, a plain spin lock, can deadlock against an RCU callback.",
              ONLY_V5),
          Defect.listed(
              "e",
              "The split lacks the get of the new S-EPT page",
              "the alternative to RFC v5 20/45, found and supplied by Yan Zhao",
              "DEMOTE gets a page without PAMT.",
              ONLY_V5),
          Defect.shown(
              "f",
              "DEMOTE meets PAMT.ADD of another TD",
              "RFC v5 30/45, reported by Yan Zhao on 2026-06-11; v3 22/24 has it as well",
              "One TD works in the 2 MiB range that another TD's page pair is in: DEMOTE is BUSY at"
                  + " both tries and the VM bugged.",
              new DemoteMeetsPamtAdd()),
          Defect.listed(
              "g",
              "Huge pages could require Dynamic PAMT",
              "asked by Rick Edgecombe in the review of v5; undecided",
              "None: a question of design.",
              "there is nothing to show"),
          Defect.listed(
              "h",
              "Dirty logging would split mirror roots without the mutex",
              "Sean Christopherson in the review of v5; far future",
              "A thread that is no vCPU would use the per-VM cache unlocked.",
              "dirty logging of private memory does not exist"));

  private Catalogue() {}

  /**
   * The defects with those ids, in upper or lower case, each once; {@code all} stands for every one
   * that can be shown.
   *
   * @throws IllegalArgumentException if an id is unknown, or its defect cannot be shown
   */
  public static ImmutableList<Defect> shown(List<String> ids) {
    Set<Defect> chosen = new LinkedHashSet<>();
    for (String id : ids) {
      if (id.equalsIgnoreCase("all")) {
        ALL.stream().filter(Defect::isShown).forEach(chosen::add);
      } else {
        chosen.add(shown(id));
      }
    }
    return ImmutableList.copyOf(chosen);
  }

  private static Defect shown(String id) {
    for (Defect defect : ALL) {
      if (defect.id().equalsIgnoreCase(id)) {
        checkArgument(
            defect.isShown(), "%s cannot be shown: %s", defect.id(), defect.whyNotShown());
        return defect;
      }
    }
    String ids = ALL.stream().map(Defect::id).collect(Collectors.joining(", "));
    throw new IllegalArgumentException("no defect \"%s\"; there is %s".formatted(id, ids));
  }
}
