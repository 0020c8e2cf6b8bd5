package dev.septum.kit;

import static dev.septum.kit.KitVm.FIRST;
import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.Capability;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.InterposedOps;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.FaultOutcome;
import dev.septum.mmu.RetPf;
import dev.septum.mmu.SpteFormat;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * What a backend can rely on: what KVM does around its ops. A design of KVM that keeps no such
 * promise fails here, whatever the backend.
 */
public abstract class KvmRules extends BackendKit {

  private static final Set<String> UNDER_READ = Set.of("link_external_spt", "set_external_spte");
  private static final Set<String> UNDER_WRITE =
      Set.of("remove_external_spte", "free_external_spt");
  private static final Set<String> UNDER_NOTHING =
      Set.of("topup_external_fault_cache", "topup_external_per_vm_split_cache");
  private static final Set<String> ON_ENTRIES =
      Set.of("link_external_spt", "set_external_spte", "split_external_spte");

  private List<OpCall> aLife(KitVm vm) {
    vm.fault(0, FIRST);
    vm.fault(1, FIRST + 512);
    vm.convert(GfnRange.ofPages(FIRST + 256, 512), false);
    vm.convert(GfnRange.ofPages(FIRST + 1024, 1), false);
    vm.fault(0, FIRST + 1025);
    vm.fault(0, FIRST + 8);
    vm.closeOnce();
    return log(vm).take();
  }

  @Rule("KVM.1")
  void everyOp_isCalledUnderItsLocks() {
    assertUnderTheirLocks(aLife(vm()));
    explore(host -> assertUnderTheirLocks(faultsOfTwoRanges(host)));
  }

  private List<OpCall> faultsOfTwoRanges(RaceHost host) {
    KitVm vm = host.newVm();
    OpLog[] log = new OpLog[1];
    watch(vm, ops -> log[0] = newLog(ops, vm));
    host.actor(() -> vm.faultOnce(0, FIRST)).actor(() -> vm.faultOnce(1, FIRST + 512)).play();
    return log[0].take();
  }

  private static void assertUnderTheirLocks(List<OpCall> calls) {
    for (OpCall call : calls) {
      if (UNDER_READ.contains(call.op())) {
        assertEquals(LockMode.SHARED, call.mode(), () -> "mmu_lock in " + call);
      } else if (UNDER_WRITE.contains(call.op())) {
        assertEquals(LockMode.EXCLUSIVE, call.mode(), () -> "mmu_lock in " + call);
      } else if (UNDER_NOTHING.contains(call.op())) {
        assertTrue(
            call.locks().stream().allMatch(LockClass::mayHolderSleep),
            () -> "spinning locks in " + call);
      }
    }
  }

  @Rule("KVM.2")
  void theMirrorEntry_isFrozenMeanwhile() {
    List<OpCall> calls = aLife(vm());
    NotJudged.unless(
        calls.stream().anyMatch(call -> ON_ENTRIES.contains(call.op())),
        "no op on an entry was called: see CAP.1");
    assertFrozen(calls);
    explore(host -> assertFrozen(faultsOfTwoRanges(host)));
  }

  private static void assertFrozen(List<OpCall> calls) {
    for (OpCall call : calls) {
      if (ON_ENTRIES.contains(call.op())) {
        assertEquals(
            Long.toHexString(SpteFormat.FROZEN),
            call.spteDuring() == null ? null : Long.toHexString(call.spteDuring()),
            () -> "the mirror entry during " + call);
      }
    }
  }

  /** An op on entries that answers a status once, without the backend's knowledge. */
  private static final class RefusedOnce extends InterposedOps {
    private final String op;
    private final Errno status;
    private boolean isDone;

    RefusedOnce(KvmX86Ops ops, String op, Errno status) {
      super(ops);
      this.op = op;
      this.status = status;
    }

    private @Nullable Errno refusal(String called) {
      if (isDone || !called.equals(op)) {
        return null;
      }
      isDone = true;
      return status;
    }

    @Override
    public Errno linkExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
      Errno refused = refusal("link_external_spt");
      return refused == null ? super.linkExternalSpt(kvm, gfn, level, externalSpt) : refused;
    }

    @Override
    public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
      Errno refused = refusal("set_external_spte");
      return refused == null ? super.setExternalSpte(kvm, gfn, level, mirrorSpte) : refused;
    }

    @Override
    public Errno splitExternalSpte(
        Kvm kvm, long gfn, PageLevel level, long old, long newExternalSpt, LockMode mode) {
      Errno refused = refusal("split_external_spte");
      return refused == null
          ? super.splitExternalSpte(kvm, gfn, level, old, newExternalSpt, mode)
          : refused;
    }
  }

  private static UnaryOperator<KvmX86Ops> refusedOnce(String op, Errno status) {
    return ops -> new RefusedOnce(ops, op, status);
  }

  @Rule("KVM.3")
  void aRefusedMapping_isAskedForAgain() {
    assumeBasics();
    for (Errno status : List.of(Errno.EBUSY, Errno.EAGAIN)) {
      for (String op : UNDER_READ) {
        KitVm vm = vm();
        // A frame that is shared keeps its neighbours from being mapped at 2M: a table is needed.
        vm.convert(GfnRange.ofPages(FIRST + 1, 1), false);
        watch(vm, refusedOnce(op, status));
        FaultOutcome first = vm.faultOnce(0, FIRST);
        assertEquals(
            RetPf.RETRY,
            first.result(),
            () -> "a fault in which %s returned %s".formatted(op, status));
        assertEquals(List.of(), vm.violations(), () -> "after %s of %s".formatted(status, op));
        vm.fault(0, FIRST);
        assertTrue(
            vm.levelOf(FIRST) != PageLevel.NONE,
            () -> "nothing is mapped after %s of %s".formatted(status, op));
      }
    }
  }

  @Rule("KVM.4")
  void aSplitThatIsToBeTriedAgain_is() {
    assumeBasics();
    KitVm vm = vm();
    assumeHuge(vm, 0, FIRST);
    watch(vm, refusedOnce("split_external_spte", Errno.EAGAIN));
    assertEquals(
        Errno.OK,
        vm.split(FIRST, LockMode.EXCLUSIVE),
        "a split whose first split_external_spte returned EAGAIN");
  }

  @Rule("KVM.5")
  void aSplitThatIsRefused_isReportedAsItIs_andLeavesTheLeaf() {
    assumeBasics();
    for (Errno status : List.of(Errno.EBUSY, Errno.ENOMEM)) {
      KitVm vm = vm();
      assumeHuge(vm, 0, FIRST);
      watch(vm, refusedOnce("split_external_spte", status));
      assertEquals(
          status,
          vm.split(FIRST, LockMode.EXCLUSIVE),
          () -> "a split whose split_external_spte returned " + status);
      assertEquals(List.of(), vm.violations(), () -> "after a split that was refused: " + status);
    }
  }

  @Rule("KVM.6")
  void aFaultThatMeetsALeaf_splitsItUnderTheWriteLockIfItMust() {
    assumeBasics();
    KitVm vm = vm();
    assumeHuge(vm, 0, FIRST);
    watch(vm, OnlyUnderTheWriteLock::new);
    requireNonNull(vm.mmu().memslots().find(FIRST)).setGuestInhibit(FIRST, PageLevel.LEVEL_2M);
    vm.fault(0, FIRST);
    assertEquals(
        PageLevel.LEVEL_4K,
        vm.levelOf(FIRST),
        "a leaf in the way of a fault at 4K, on a backend that splits under the write mmu_lock"
            + " only");
  }

  private static final class OnlyUnderTheWriteLock extends InterposedOps {
    OnlyUnderTheWriteLock(KvmX86Ops ops) {
      super(ops);
    }

    @Override
    public Errno splitExternalSpte(
        Kvm kvm, long gfn, PageLevel level, long old, long newExternalSpt, LockMode mode) {
      return mode == LockMode.SHARED
          ? Errno.EOPNOTSUPP
          : super.splitExternalSpte(kvm, gfn, level, old, newExternalSpt, mode);
    }
  }

  @Rule("KVM.7")
  void aConversionWhoseSplitIsRefused_zapsNothing_andEnds() {
    assumeBasics();
    KitVm vm = vm();
    assumeHuge(vm, 0, FIRST);
    assumeHuge(vm, 0, FIRST + 512);
    List<?> before = vm.mirrorLeafs();
    watch(vm, refusedOnce("split_external_spte", Errno.ENOMEM));
    Errno status = vm.convert(GfnRange.ofPages(FIRST + 256, 512), false);
    assertTrue(status.isError(), "a conversion whose split was refused returned OK");
    assertEquals(before, vm.mirrorLeafs(), "leafs after a conversion whose split was refused");
    assertEquals(List.of(), vm.violations(), "after a conversion whose split was refused");
  }

  @Rule("KVM.8")
  void aSplit_isAskedForOnlyWithThePagesItNeeds() {
    requires(Capability.SPLIT_CACHE);
    List<OpCall> calls = new ArrayList<>(aLife(vm()));
    String before = "";
    for (OpCall call : calls) {
      if (call.is("split_external_spte")) {
        assertEquals(
            "need_topup_external_per_vm_split_cache",
            before,
            () -> "the op before " + call + ", of those on the split cache and on leafs");
      }
      if (call.op().contains("split") || ON_ENTRIES.contains(call.op())) {
        before = call.op();
      }
    }
  }

  @Rule("KVM.9")
  void aTable_isLinkedBeforeWhatIsInIt() {
    Set<Long> linked = new HashSet<>();
    boolean isTried = false;
    for (OpCall call : aLife(vm())) {
      if (call.status().isError()) {
        continue;
      }
      if (call.level() == PageLevel.LEVEL_2M && !call.is("set_external_spte")) {
        linked.add(call.gfn());
      } else if (call.level() == PageLevel.LEVEL_4K && call.is("set_external_spte")) {
        isTried = true;
        assertTrue(
            linked.contains(PageLevel.LEVEL_2M.alignDown(call.gfn())),
            () -> call + " comes before the table that it is in");
      }
    }
    NotJudged.unless(isTried, "no 4K leaf was mapped: see CAP.1");
  }

  @Rule("KVM.10")
  void aTable_isFreedWhenItsLeafsAreGone() {
    Set<Long> mapped = new TreeSet<>();
    for (OpCall call : aLife(vm())) {
      PageLevel level = call.level();
      if (call.is("set_external_spte") && !call.status().isError()) {
        mapped.add(call.gfn());
      } else if (call.is("split_external_spte") && !call.status().isError()) {
        for (long gfn = call.gfn(); gfn < call.gfn() + 512; gfn++) {
          mapped.add(gfn);
        }
      } else if (call.is("remove_external_spte")) {
        mapped.remove(call.gfn());
      } else if (call.is("free_external_spt") && level == PageLevel.LEVEL_4K) {
        ImmutableSet<Long> left =
            mapped.stream()
                .filter(gfn -> gfn >= call.gfn() && gfn < call.gfn() + 512)
                .collect(ImmutableSet.toImmutableSet());
        assertEquals(Set.of(), left, () -> "leafs that are still mapped at " + call);
      }
    }
  }

  @Rule("KVM.11")
  void twoFaultsOfOneGfn_mapItOnce() {
    assumeBasics();
    KitVm vm = vm();
    vm.fault(0, FIRST);
    vm.fault(1, FIRST);
    assertEquals(
        1,
        log(vm).take().stream().filter(call -> call.is("set_external_spte")).count(),
        "calls of set_external_spte for two faults of one gfn");
    explore(
        host -> {
          KitVm racing = host.newVm();
          host.actor(() -> racing.faultOnce(0, FIRST))
              .actor(() -> racing.faultOnce(1, FIRST))
              .play();
          assertEquals(List.of(), racing.violations(), "two faults of one gfn at once");
          assertEquals(1, racing.mirrorLeafs().size(), "leafs after two faults of one gfn");
        });
  }
}
