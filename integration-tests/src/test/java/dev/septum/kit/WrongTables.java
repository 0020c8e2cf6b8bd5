package dev.septum.kit;

import static dev.septum.kit.WrongBackends.reference;
import static dev.septum.kit.WrongBackends.showing;
import static dev.septum.kvm.PageLevel.LEVEL_2M;
import static dev.septum.kvm.PageLevel.LEVEL_4K;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kit.WrongBackends.OpsWithRefusal;
import dev.septum.kit.WrongBackends.Wrong;
import dev.septum.kvm.Errno;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.MirrorSpte;
import dev.septum.kvm.PageLevel;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Supplier;

/** Backends that break a rule on the external page table or on splits. */
final class WrongTables {

  private WrongTables() {}

  static List<Wrong> all() {
    return ImmutableList.<Wrong>builder().addAll(tables()).addAll(splits()).build();
  }

  private static List<Wrong> tables() {
    return ImmutableList.of(
        reference(
            "TABLE.1",
            "after link_external_spt",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno linkExternalSpt(Kvm kvm, long gfn, PageLevel level, long spt) {
                    Errno status = super.linkExternalSpt(kvm, gfn, level, spt);
                    kvm.pages()
                        .changeOwner(spt, PageOwner.SEPT_PAGE, PageOwner.EXTERNAL_PAGE_TABLE);
                    return status;
                  }

                  @Override
                  public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long spt) {
                    if (kvm.pages().ownerOf(spt) == PageOwner.EXTERNAL_PAGE_TABLE) {
                      kvm.pages()
                          .changeOwner(spt, PageOwner.EXTERNAL_PAGE_TABLE, PageOwner.SEPT_PAGE);
                    }
                    return super.freeExternalSpt(kvm, gfn, level, spt);
                  }
                }),
        reference(
            "TABLE.2",
            "the leaf after set_external_spte",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) {
                    return super.setExternalSpte(kvm, gfn, level, spte ^ 1L << 12);
                  }
                }),
        reference("TABLE.3", "after remove_external_spte", () -> new RemovesAllBut(LEVEL_4K)),
        reference(
            "TABLE.4",
            "owners of pages right after free_external_spt",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long spt) {
                    Errno status = super.freeExternalSpt(kvm, gfn, level, spt);
                    PageAllocator pages = kvm.pages();
                    pages.changeOwner(spt, PageOwner.EXTERNAL_PAGE_TABLE, PageOwner.SEPT_PAGE);
                    kvm.kernel()
                        .rcu()
                        .call(
                            () ->
                                pages.changeOwner(
                                    spt, PageOwner.SEPT_PAGE, PageOwner.EXTERNAL_PAGE_TABLE));
                    return status;
                  }
                }),
        reference(
            "TABLE.5",
            "mirror and external leafs after step",
            () ->
                new OpsWithRefusal() {
                  /** Forgets one removal in the life of a VM. */
                  @Override
                  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long old) {
                    if (CachingVm.of(kvm).scratch.addAndGet(1) != 520) {
                      super.removeExternalSpte(kvm, gfn, level, old);
                    }
                  }
                }),
        reference(
            "TABLE.6",
            "are not guest memory any more",
            () ->
                new OpsWithRefusal() {
                  @Override
                  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) {
                    take(kvm, MirrorSpte.pfn(spte), PageOwner.GUEST_MEMORY, PageOwner.TD_CONTROL);
                    return super.setExternalSpte(kvm, gfn, level, spte);
                  }

                  @Override
                  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long old) {
                    take(kvm, MirrorSpte.pfn(old), PageOwner.TD_CONTROL, PageOwner.GUEST_MEMORY);
                    super.removeExternalSpte(kvm, gfn, level, old);
                  }
                }),
        reference(
            "TABLE.7",
            "mapped once more",
            () ->
                new OpsWithRefusal() {
                  private final Set<Long> removed = new HashSet<>();

                  @Override
                  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long spte) {
                    return removed.contains(MirrorSpte.pfn(spte))
                        ? Errno.OK
                        : super.setExternalSpte(kvm, gfn, level, spte);
                  }

                  @Override
                  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long old) {
                    removed.add(MirrorSpte.pfn(old));
                    super.removeExternalSpte(kvm, gfn, level, old);
                  }
                }),
        showing("TABLE.8", "ExternalTable.pages() and of KVM", OpsWithRefusal::new, vm -> 1));
  }

  private static void take(Kvm kvm, long pfn, PageOwner from, PageOwner to) {
    if (kvm.pages().ownerOf(pfn) == from) {
      kvm.pages().changeOwner(pfn, from, to);
    }
  }

  private static final class RemovesAllBut extends OpsWithRefusal {
    private final PageLevel level;

    RemovesAllBut(PageLevel level) {
      this.level = level;
    }

    @Override
    public void removeExternalSpte(Kvm kvm, long gfn, PageLevel ofLevel, long old) {
      if (ofLevel != level) {
        super.removeExternalSpte(kvm, gfn, ofLevel, old);
      }
    }
  }

  private interface AfterSplit {
    void change(KvmX86Ops ops, Kvm kvm, long gfn, long pfn, long newExternalSpt);
  }

  private static Supplier<KvmX86Ops> afterSplit(AfterSplit change) {
    return () ->
        new OpsWithRefusal() {
          @Override
          Errno split(
              Kvm kvm, long gfn, PageLevel level, long old, long newExternalSpt, LockMode mode) {
            Errno status = super.split(kvm, gfn, level, old, newExternalSpt, mode);
            change.change(this, kvm, gfn, MirrorSpte.pfn(old), newExternalSpt);
            return status;
          }
        };
  }

  private static List<Wrong> splits() {
    return ImmutableList.of(
        reference(
            "SPLIT.1",
            "a split under the write mmu_lock",
            () ->
                new OpsWithRefusal() {
                  @Override
                  Errno split(
                      Kvm kvm, long gfn, PageLevel level, long old, long spt, LockMode mode) {
                    return mode == LockMode.EXCLUSIVE
                        ? Errno.EBUSY
                        : super.split(kvm, gfn, level, old, spt, mode);
                  }
                }),
        reference(
            "SPLIT.2",
            "leafs after a split of",
            afterSplit(
                (ops, kvm, gfn, pfn, spt) -> {
                  ops.removeExternalSpte(kvm, gfn + 7, LEVEL_4K, 0);
                  Errno unused = ops.setExternalSpte(kvm, gfn + 7, LEVEL_4K, (pfn + 8) << 12);
                })),
        reference(
            "SPLIT.3",
            "owner of the page of the table that a split added",
            () ->
                new OpsWithRefusal() {
                  @Override
                  Errno split(
                      Kvm kvm, long gfn, PageLevel level, long old, long spt, LockMode mode) {
                    Errno status = super.split(kvm, gfn, level, old, spt, mode);
                    take(kvm, spt, PageOwner.SEPT_PAGE, PageOwner.EXTERNAL_PAGE_TABLE);
                    return status;
                  }

                  @Override
                  public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long spt) {
                    take(kvm, spt, PageOwner.EXTERNAL_PAGE_TABLE, PageOwner.SEPT_PAGE);
                    return super.freeExternalSpt(kvm, gfn, level, spt);
                  }
                }),
        reference(
            "SPLIT.4",
            "the pages of a leaf that was split are not guest memory any more",
            afterSplit(
                (ops, kvm, gfn, pfn, spt) ->
                    take(kvm, pfn + 3, PageOwner.GUEST_MEMORY, PageOwner.TD_CONTROL))),
        reference(
            "SPLIT.5",
            "leafs after a split was refused",
            () ->
                new OpsWithRefusal() {
                  /** Done, and yet refused; the next attempt finds it done. */
                  @Override
                  Errno refused(
                      Kvm kvm, long gfn, PageLevel level, long old, long spt, LockMode mode) {
                    Errno unused = super.split(kvm, gfn, level, old, spt, mode);
                    unused = super.freeExternalSpt(kvm, gfn, level, spt);
                    return Errno.EBUSY;
                  }

                  @Override
                  Errno split(
                      Kvm kvm, long gfn, PageLevel level, long old, long spt, LockMode mode) {
                    ExternalTable.Leaf leaf = CachingVm.of(kvm).table().walk(gfn);
                    if (leaf != null && leaf.level() == LEVEL_4K) {
                      return super.linkExternalSpt(kvm, gfn, level, spt);
                    }
                    return super.split(kvm, gfn, level, old, spt, mode);
                  }
                }),
        reference(
            "SPLIT.6",
            "the next split after one was refused",
            () ->
                new OpsWithRefusal() {
                  @Override
                  Errno refused(
                      Kvm kvm, long gfn, PageLevel level, long old, long spt, LockMode mode) {
                    CachingVm.of(kvm).scratch.set(1);
                    return Errno.EBUSY;
                  }

                  @Override
                  Errno split(
                      Kvm kvm, long gfn, PageLevel level, long old, long spt, LockMode mode) {
                    return CachingVm.of(kvm).scratch.get() == 1
                        ? Errno.EBUSY
                        : super.split(kvm, gfn, level, old, spt, mode);
                  }
                }),
        reference(
            "SPLIT.7",
            "the leaf beside the one that was split",
            afterSplit(
                (ops, kvm, gfn, pfn, spt) -> {
                  ExternalTable.Leaf next = CachingVm.of(kvm).table().walk(gfn + 512);
                  if (next != null && next.level() == LEVEL_2M) {
                    ops.removeExternalSpte(kvm, gfn + 512, LEVEL_2M, 0);
                  }
                })));
  }
}
