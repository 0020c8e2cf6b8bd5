package dev.septum.tdx;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.tuple;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.Memslot;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.module.AccessKind;
import dev.septum.tdx.module.GuestInstruction;
import dev.septum.tdx.module.GuestOutcome;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxModuleView.SeptLeaf;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.Vmm;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a TD's EPT violations lead to: accept levels, kills, faults, exits to user space. */
final class EptViolationsTest extends TdTestCase {

  /** Touching what is not accepted raises #VE, so a page can be mapped before it is accepted. */
  private final Vmm vmm = boot(1, false);

  private final KvmTdx kvm = vmm.kvm();
  private final VcpuTdx vcpu = vmm.vcpus().get(0);

  private RunExit run(OneInstruction... instructions) {
    vcpu.boot(GuestProgram.of(instructions));
    return vcpu.run();
  }

  /** Executes one instruction that must complete. */
  private GuestOutcome completed(OneInstruction instruction) {
    assertThat(run(instruction)).isEqualTo(new RunExit.Halt());
    return instruction.outcome();
  }

  private void touchBeforeAccept(long gfn) {
    assertThat(completed(OneInstruction.write(gfn << 12)))
        .isInstanceOf(GuestOutcome.VirtualizationException.class);
  }

  private boolean isInhibited(long gfn, PageLevel level) {
    Memslot slot = requireNonNull(kvm.mmu().memslots().find(gfn));
    return slot.hasGuestInhibit(gfn, level);
  }

  private List<SeptLeaf> septLeafs(long gfn) {
    long start = gfn << 12;
    return view().leafs(kvm.tdr() << 12).stream()
        .filter(leaf -> leaf.gpa() >= start && leaf.gpa() < start + 2 * MIB)
        .toList();
  }

  private static GuestOutcome status(long status) {
    return new GuestOutcome.Status(status);
  }

  @Test
  void accessFirst_acceptOf4KSplitsThePending2MLeaf() {
    touchBeforeAccept(GFN + 7);
    assertThat(septLeafs(GFN))
        .extracting(SeptLeaf::level, SeptLeaf::state)
        .containsExactly(tuple(1, SeptState.PENDING));

    assertThat(completed(OneInstruction.accept4K(GFN + 7))).isEqualTo(status(0));
    assertThat(septLeafs(GFN)).hasSize(512).allMatch(leaf -> leaf.level() == 0);
    assertThat(septLeafs(GFN))
        .filteredOn(leaf -> leaf.state() == SeptState.MAPPED)
        .extracting(SeptLeaf::gpa)
        .containsExactly((GFN + 7) << 12);
    assertThat(kvm.mmu().splits().get(SplitCause.GUEST_ACCEPT)).isEqualTo(1);
    assertThat(isInhibited(GFN, PageLevel.LEVEL_2M)).isTrue();
    assertThat(isInhibited(GFN, PageLevel.LEVEL_1G)).isTrue();
  }

  @Test
  void acceptFirst_of4K_inhibitsWithoutASplitAndMaps4K() {
    assertThat(completed(OneInstruction.accept4K(GFN + 7))).isEqualTo(status(0));
    assertThat(septLeafs(GFN)).hasSize(1).allMatch(leaf -> leaf.level() == 0);
    assertThat(kvm.mmu().splits().get(SplitCause.GUEST_ACCEPT)).isZero();
    assertThat(isInhibited(GFN, PageLevel.LEVEL_2M)).isTrue();
    assertThat(isInhibited(GFN, PageLevel.LEVEL_1G)).isTrue();
    assertThat(isInhibited(GFN + 512, PageLevel.LEVEL_2M)).isFalse();
    assertThat(isInhibited(GFN - 1, PageLevel.LEVEL_2M)).isFalse();
  }

  @Test
  void acceptFirst_of2M_inhibits1GOnly() {
    assertThat(completed(OneInstruction.accept2M(GFN))).isEqualTo(status(0));
    assertThat(septLeafs(GFN)).hasSize(1).allMatch(leaf -> leaf.level() == 1);
    assertThat(isInhibited(GFN, PageLevel.LEVEL_2M)).isFalse();
    assertThat(isInhibited(GFN, PageLevel.LEVEL_1G)).isTrue();
  }

  @Test
  void acceptOf2M_onA2MLeaf_takesItAsItIs() {
    touchBeforeAccept(GFN);
    assertThat(completed(OneInstruction.accept2M(GFN))).isEqualTo(status(0));
    assertThat(kvm.counters().get(TdxCounter.ACCEPT_EPT_VIOLATIONS)).isZero();
    assertThat(kvm.mmu().splits().get(SplitCause.GUEST_ACCEPT)).isZero();
  }

  @Test
  void acceptOf2M_on4KLeafs_isASizeMismatchForTheGuest() {
    completed(OneInstruction.accept4K(GFN));
    assertThat(completed(OneInstruction.accept2M(GFN)))
        .isEqualTo(status(TdxStatus.TDX_PAGE_SIZE_MISMATCH | 1));
    assertThat(isInhibited(GFN, PageLevel.LEVEL_2M)).isTrue();
  }

  @Test
  void anotherAccept4KInARangeThatIsInhibited_doesNotTakeTheWriteLock() {
    completed(OneInstruction.accept4K(GFN));
    long writes = kernel.rwLocksTaken(LockMode.EXCLUSIVE);
    long violations = kvm.counters().get(TdxCounter.ACCEPT_EPT_VIOLATIONS);

    for (int i = 1; i < 20; i++) {
      assertThat(completed(OneInstruction.accept4K(GFN + i))).isEqualTo(status(0));
    }
    assertThat(kvm.counters().get(TdxCounter.ACCEPT_EPT_VIOLATIONS)).isEqualTo(violations + 19);
    assertThat(kernel.rwLocksTaken(LockMode.EXCLUSIVE)).isEqualTo(writes);
  }

  @Test
  void theFirstAcceptOfARange_takesTheWriteLockOnce() {
    long writes = kernel.rwLocksTaken(LockMode.EXCLUSIVE);
    completed(OneInstruction.accept4K(GFN));
    assertThat(kernel.rwLocksTaken(LockMode.EXCLUSIVE)).isEqualTo(writes + 1);
  }

  @Test
  void inhibit_isNeverCleared() {
    completed(OneInstruction.accept4K(GFN));
    assertThat(vmm.convert(GFN << 12, 2 * MIB, false)).isEqualTo(Errno.OK);
    assertThat(vmm.convert(GFN << 12, 2 * MIB, true)).isEqualTo(Errno.OK);
    assertThat(isInhibited(GFN, PageLevel.LEVEL_2M)).isTrue();
    assertThat(completed(OneInstruction.accept2M(GFN)))
        .isEqualTo(status(TdxStatus.TDX_PAGE_SIZE_MISMATCH | 1));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"kvm_mmu_page_header", "mmu_page_table", "external_page_table", "pamt_cache"})
  void aSplitForAnAccept_withoutMemory_isEnomemAndSetsNoFlag(String place) {
    touchBeforeAccept(GFN);
    WholeState before = state(kvm);
    host.pages().faults().failNext(place, 1);

    RunExit exit = run(OneInstruction.accept4K(GFN));
    assertThat(exit)
        .isInstanceOfSatisfying(
            RunExit.Failed.class, failed -> assertThat(failed.error()).isEqualTo(Errno.ENOMEM));
    assertThat(isInhibited(GFN, PageLevel.LEVEL_2M)).isFalse();
    assertThat(isInhibited(GFN, PageLevel.LEVEL_1G)).isFalse();
    assertThat(state(kvm)).isEqualTo(before);

    assertThat(completed(OneInstruction.accept4K(GFN))).isEqualTo(status(0));
    assertThat(septLeafs(GFN)).hasSize(512);
  }

  @Test
  void aPendingEptViolation_killsTheGuest() {
    Vmm strict = boot(1, true);
    VcpuTdx strictVcpu = strict.vcpus().get(0);
    strictVcpu.boot(GuestProgram.of(OneInstruction.write(GFN << 12)));
    assertThat(strictVcpu.run())
        .isEqualTo(
            new RunExit.Failed(Errno.EIO, "guest access to unaccepted private GPA 0x200000"));
    assertThat(strict.kvm().isBugged()).isFalse();
    assertThat(mirrorLeaf(strict.kvm(), GFN).level()).isEqualTo(PageLevel.LEVEL_2M);
  }

  @Test
  void anInstructionFetchFromSharedMemory_bugsTheVm() {
    RunExit exit =
        run(
            new OneInstruction(
                new GuestInstruction.Access((GFN << 12) | KvmTdx.SHARED_BIT, AccessKind.EXECUTE)));
    assertThat(exit)
        .isEqualTo(new RunExit.Failed(Errno.EIO, "instruction fetch from a shared GPA"));
    assertThat(String.valueOf(kvm.splat())).contains("instruction fetch from a shared GPA");
    assertThat(run(OneInstruction.accept4K(GFN)))
        .isInstanceOfSatisfying(
            RunExit.Failed.class,
            failed -> assertThat(failed.reason()).contains("the VM is bugged"));
  }

  @ParameterizedTest
  @CsvSource({"READ", "WRITE"})
  void sharedMemory_isMappedAt4KInTheDirectRoot(AccessKind kind) {
    kvm.mmu().memory().setAttributes(GfnRange.ofPages(GFN, 512), false);
    OneInstruction access =
        new OneInstruction(new GuestInstruction.Access((GFN << 12) | KvmTdx.SHARED_BIT, kind));
    assertThat(completed(access)).isEqualTo(new GuestOutcome.Done());
    assertThat(new MmuView(kvm.mmu()).directLeafs())
        .singleElement()
        .matches(leaf -> leaf.gfn() == GFN && leaf.level() == PageLevel.LEVEL_4K);
    assertThat(pagesOf(PageOwner.USER_MEMORY)).isEqualTo(1);
    assertThat(kvm.counters().get(TdxCounter.SHARED_EPT_VIOLATIONS)).isEqualTo(1);
    assertThat(kvm.counters().get(TdxCounter.PRIVATE_EPT_VIOLATIONS)).isZero();
  }

  @Test
  void privateAccessToSharedMemory_asksUserSpace() {
    kvm.mmu().memory().setAttributes(GfnRange.ofPages(GFN, 512), false);
    assertThat(run(OneInstruction.accept4K(GFN)))
        .isEqualTo(new RunExit.MemoryFault(GFN << 12, 4096, true));
  }

  @Test
  void sharedAccessToPrivateMemory_asksUserSpace() {
    assertThat(run(OneInstruction.write((GFN << 12) | KvmTdx.SHARED_BIT)))
        .isEqualTo(new RunExit.MemoryFault(GFN << 12, 4096, false));
  }

  @Test
  void anAcceptOutsideEverySlot_asksUserSpaceAndTakesNoWriteLock() {
    long writes = kernel.rwLocksTaken(LockMode.EXCLUSIVE);
    assertThat(run(OneInstruction.accept4K(1L << 30)))
        .isEqualTo(new RunExit.MemoryFault(1L << 42, 4096, true));
    assertThat(kernel.rwLocksTaken(LockMode.EXCLUSIVE)).isEqualTo(writes);
  }
}
