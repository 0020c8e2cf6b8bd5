package dev.septum.kit;

import static dev.septum.kit.KitVm.FIRST;
import static dev.septum.kvm.PageLevel.LEVEL_2M;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.Capability;
import dev.septum.kvm.Errno;
import dev.septum.kvm.InterposedOps;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.function.Consumer;

/** The pages that a VM has ready for splits outside vCPU threads: the sentences of the patch. */
public abstract class SplitCacheRules extends BackendKit {

  private KitVm cachingVm() {
    requires(Capability.SPLIT_CACHE);
    KitVm vm = vm();
    assumeTrue(
        vm.external().splitCacheNeed() > 0,
        "a split needs no pages here: ExternalTable.splitCacheNeed() is 0");
    return vm;
  }

  /** Holds where a thread is alone, and in every schedule beside another thread's work. */
  private void aloneAndBeside(Consumer<KitVm> other, BiConsumer<KitVm, WatchedKernel> rule) {
    rule.accept(cachingVm(), kernel());
    explore(
        host -> {
          KitVm vm = host.newVm();
          host.actor(() -> rule.accept(vm, host.kernel())).actor(() -> other.accept(vm)).play();
        });
  }

  private static List<LockClass> held(KitVm vm) {
    return vm.kvm().kernel().locks().held().asList();
  }

  @Rule("CACHE.1")
  void afterATopup_oneSplitHasItsPages() {
    KitVm vm = cachingVm();
    assertTrue(
        vm.needsSplitCacheTopup(LockMode.EXCLUSIVE),
        "need_topup_external_per_vm_split_cache of an empty cache");
    assertEquals(Errno.OK, vm.topupSplitCache(), "a topup");
    assertFalse(
        vm.needsSplitCacheTopup(LockMode.EXCLUSIVE),
        "need_topup_external_per_vm_split_cache right after a topup that returned OK");
  }

  @Rule("CACHE.2")
  void aTopupOfAnEmptyCache_takesWhatOneSplitNeeds() {
    KitVm vm = cachingVm();
    assumeOk("a topup", vm.topupSplitCache());
    assertEquals(
        vm.external().splitCacheNeed(),
        vm.external().splitCachePages(),
        "pages in the cache after a topup of an empty one");
  }

  @Rule("CACHE.3")
  void topup_readsTheCountUnlocked() {
    aloneAndBeside(
        vm -> vm.needsSplitCacheTopup(LockMode.SHARED),
        (vm, kernel) -> {
          assumeOk("a topup", vm.topupSplitCache());
          assertEquals(
              List.of(),
              kernel.locksOf(vm::topupSplitCache),
              "locks that a topup of a full cache took: the count is read without one");
        });
  }

  @Rule("CACHE.4")
  void topup_allocatesOutsideEveryLock() {
    aloneAndBeside(
        KitVm::topupSplitCache,
        (vm, kernel) -> {
          List<LockClass> heldAtAllocations = new ArrayList<>();
          vm.pages()
              .faults()
              .failWhen(
                  (place, call) -> {
                    heldAtAllocations.addAll(held(vm));
                    return false;
                  });
          vm.topupSplitCache();
          vm.pages().faults().clear();
          assertEquals(List.of(), heldAtAllocations, "locks held while a topup allocated a page");
        });
  }

  @Rule("CACHE.5")
  void topup_enqueuesUnderALock() {
    KitVm vm = cachingVm();
    List<LockClass> locks = kernel().locksOf(vm::topupSplitCache);
    assertTrue(
        locks.stream().anyMatch(lock -> !lock.mayHolderSleep()),
        () -> "a topup put pages into the cache under no spinning lock; locks taken: " + locks);
  }

  @Rule("CACHE.6")
  void needTopup_takesNoLock() {
    aloneAndBeside(
        KitVm::topupSplitCache,
        (vm, kernel) ->
            assertEquals(
                List.of(),
                vm.underMmuLock(LockMode.SHARED, () -> kernel.locksOf(() -> needTopup(vm))),
                "locks that need_topup_external_per_vm_split_cache took"));
  }

  private static boolean needTopup(KitVm vm) {
    return vm.kvm().ops().needTopupExternalPerVmSplitCache(vm.kvm(), LEVEL_2M);
  }

  @Rule("CACHE.7")
  void underTheWriteLock_needTopupIsFinal() {
    KitVm vm = cachingVm();
    assumeHuge(vm, 0, FIRST);
    vm.split(FIRST, LockMode.EXCLUSIVE);
    List<OpCall> splits = splitsOf(vm);
    NotJudged.unless(!splits.isEmpty(), "split_external_spte was never called: see CACHE.1");
    assertTrue(
        splits.stream().noneMatch(call -> call.status() == Errno.EAGAIN),
        "split_external_spte under the write mmu_lock returned EAGAIN after need_topup was false");
  }

  private List<OpCall> splitsOf(KitVm vm) {
    return log(vm).take().stream().filter(call -> call.is("split_external_spte")).toList();
  }

  /** Another thread splits between the question and the split that relies on its answer. */
  @Rule("CACHE.8")
  void underTheReadLock_aDrainedCacheIsSeenAgain() {
    requires(Capability.SHARED_SPLIT);
    KitVm vm = cachingVm();
    assumeHuge(vm, 0, FIRST);
    assumeHuge(vm, 0, FIRST + 512);
    assumeOk("a topup", vm.topupSplitCache());
    boolean[] isDrained = {false};
    watch(vm, ops -> new DrainedMeanwhile(ops, vm, isDrained));
    Errno status = vm.split(FIRST, LockMode.SHARED);
    List<OpCall> splits = splitsOf(vm);
    assertEquals(
        Set.of(Errno.OK, Errno.EAGAIN),
        Set.copyOf(splits.stream().map(OpCall::status).toList()),
        "statuses of split_external_spte where another thread emptied the cache after need_topup");
    assertEquals(Errno.OK, status, "the split in the end");
    assertEquals(
        List.of(PageLevel.LEVEL_4K, PageLevel.LEVEL_4K),
        List.of(vm.levelOf(FIRST), vm.levelOf(FIRST + 512)),
        "both ranges in the end");
  }

  /** Before the first split another thread splits the next leaf, and takes the pages. */
  private static final class DrainedMeanwhile extends InterposedOps {
    private final KitVm vm;
    private final boolean[] isDrained;

    DrainedMeanwhile(KvmX86Ops ops, KitVm vm, boolean[] isDrained) {
      super(ops);
      this.vm = vm;
      this.isDrained = isDrained;
    }

    @Override
    public Errno splitExternalSpte(
        Kvm kvm, long gfn, PageLevel level, long old, long newExternalSpt, LockMode mode) {
      if (!isDrained[0]) {
        isDrained[0] = true;
        KernelThread other =
            kvm.kernel().spawn("other", () -> vm.split(FIRST + 512, LockMode.SHARED));
        other.join();
      }
      return super.splitExternalSpte(kvm, gfn, level, old, newExternalSpt, mode);
    }
  }

  @Rule("CACHE.9")
  void aRefusedSplit_putsItsPagesBack() {
    KitVm vm = cachingVm();
    assumeHuge(vm, 0, FIRST);
    assumeOk("a topup", vm.topupSplitCache());
    long before = vm.external().splitCachePages();
    assumeRefused(vm, FIRST);
    assertEquals(
        before, vm.external().splitCachePages(), "pages in the cache after a split was refused");
  }

  @Rule("CACHE.10")
  void aTopupWithoutPages_isEnomem_andKeepsWhatItGot() {
    KitVm vm = cachingVm();
    long last = vm.external().splitCacheNeed();
    long[] calls = {0};
    vm.pages().faults().failWhen((place, call) -> ++calls[0] == last);
    Errno status = vm.topupSplitCache();
    vm.pages().faults().clear();
    assertEquals(Errno.ENOMEM, status, "a topup whose last page cannot be had");
    assertEquals(last - 1, vm.external().splitCachePages(), "pages in the cache after it");
  }

  @Rule("CACHE.11")
  void free_takesNoLock() {
    KitVm vm = cachingVm();
    assumeOk("a topup", vm.topupSplitCache());
    assertEquals(
        List.of(),
        kernel().locksOf(() -> vm.kvm().ops().freeExternalPerVmSplitCache(vm.kvm())),
        "locks that free_external_per_vm_split_cache took");
  }

  @Rule("CACHE.12")
  void free_leavesNothing() {
    KitVm vm = cachingVm();
    assumeMapped(vm, 0, FIRST);
    assumeOk("a topup", vm.topupSplitCache());
    vm.kvm().ops().freeExternalPerVmSplitCache(vm.kvm());
    assertEquals(0, vm.external().splitCachePages(), "pages in the cache after its free");
  }

  /** Two topups at once: every page that was taken from the host is in the cache. */
  @Rule("CACHE.13")
  void topupsAtOnce_loseNoPage() {
    requires(Capability.SPLIT_CACHE);
    explore(
        host -> {
          KitVm vm = host.newVm();
          long held = takenPages(vm);
          host.actor(vm::topupSplitCache).actor(vm::topupSplitCache).play();
          assertEquals(
              takenPages(vm),
              held + vm.external().splitCachePages(),
              "pages taken from the host beside those in the cache, after two topups at once");
        });
  }

  private static long takenPages(KitVm vm) {
    return vm.pages().taken().values().stream().mapToLong(Long::longValue).sum();
  }
}
