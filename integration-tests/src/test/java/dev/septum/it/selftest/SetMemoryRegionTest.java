package dev.septum.it.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.it.HookKernel;
import dev.septum.it.selftest.SelftestVm.SelftestVcpu;
import dev.septum.kernel.LockClass;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmType;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.GuestCpu;
import dev.septum.mmu.GuestCpu.Result;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.MemoryRegion;
import dev.septum.mmu.Memslot;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * {@code set_memory_region_test}: what a memslot may be, and what a guest sees of one that is moved
 * or deleted under it.
 *
 * <p>There are no descriptors of the wrong kind, and a file belongs to no VM, so that these errors
 * cannot come up. Contents are not modelled: which frame is mapped tells what the guest would read.
 * An IDT in MMIO needs an emulator of instructions. An exit with INTERNAL_ERROR is EFAULT here.
 */
final class SetMemoryRegionTest {

  private static final int SLOT = 10;
  private static final long GPA = 0xc000_0000L;
  private static final long BYTES = 2 * SelftestVm.MIB;
  private static final int MAX_SLOTS = 32764;

  /** Of all slots the last ones are filled: a slot costs time in proportion to those there are. */
  private static final int FILLED_SLOTS = 512;

  private static final int LOOPS = 10;

  private final HookKernel kernel = new HookKernel();

  @RegisterExtension final SelftestHost host = new SelftestHost(kernel);

  private SelftestVm newVm(VmType type) {
    return host.newVm(KernelGeneration.LINUX_7_1, type);
  }

  private static Errno setRegion(
      SelftestVm vm, int slot, int flags, long gpa, long bytes, long hva) {
    return vm.memory().setRegion(slot, flags, gpa, bytes, hva, null, 0);
  }

  private static Errno setPrivate(
      SelftestVm vm, int slot, int flags, long gpa, long bytes, GuestMemfd file, long offset) {
    return vm.memory()
        .setRegion(slot, flags | MemoryRegion.GUEST_MEMFD, gpa, bytes, 0, file, offset);
  }

  private static List<String> slots(SelftestVm vm) {
    return vm.mmu().memslots().all().stream().map(Memslot::toString).toList();
  }

  @Test
  void withoutSlots_theGuestCannotEvenStart() {
    SelftestVcpu vcpu = newVm(VmType.DEFAULT).addVcpu();
    assertThat(vcpu.access(AccessKind.EXEC, SelftestVm.CODE))
        .isEqualTo(new GuestCpu.Access(Result.ERROR, Errno.EFAULT, null));
  }

  @Test
  void onlyLoggingAndReadOnly_areFlagsOfSharedMemory() {
    SelftestVm vm = newVm(VmType.DEFAULT);
    long hva = vm.user().map(GPA, BYTES, PageLevel.LEVEL_4K);
    for (int bit = 0; bit < Integer.SIZE; bit++) {
      int flag = 1 << bit;
      boolean valid = flag == MemoryRegion.LOG_DIRTY_PAGES || flag == MemoryRegion.READONLY;
      assertThat(setRegion(vm, SLOT, flag, GPA, BYTES, hva))
          .as("flag %x", flag)
          .isEqualTo(valid ? Errno.OK : Errno.EINVAL);
      assertThat(setRegion(vm, SLOT, 0, 0, 0, 0)).isEqualTo(valid ? Errno.OK : Errno.EINVAL);
    }
    assertThat(slots(vm)).isEmpty();
  }

  @Test
  void privateMemory_takesNoOtherFlag() {
    SelftestVm vm = newVm(VmType.SW_PROTECTED);
    GuestMemfd file = vm.createFile(BYTES);
    for (int bit = 0; bit < Integer.SIZE; bit++) {
      int flag = 1 << bit;
      boolean valid = flag == MemoryRegion.GUEST_MEMFD;
      assertThat(setPrivate(vm, SLOT, flag, GPA, BYTES, file, 0))
          .as("flag %x", flag)
          .isEqualTo(valid ? Errno.OK : Errno.EINVAL);
      assertThat(setRegion(vm, SLOT, 0, 0, 0, 0)).isEqualTo(valid ? Errno.OK : Errno.EINVAL);
    }
  }

  @Test
  void theHighestSlotNumbersCanBeUsed_andNoneBeyond() {
    SelftestVm vm = newVm(VmType.DEFAULT);
    long hva = vm.user().map(0, BYTES, PageLevel.LEVEL_4K);
    for (int slot = MAX_SLOTS - FILLED_SLOTS; slot < MAX_SLOTS; slot++) {
      assertThat(setRegion(vm, slot, 0, slot * BYTES, BYTES, hva)).isEqualTo(Errno.OK);
    }

    assertThat(setRegion(vm, MAX_SLOTS, 0, MAX_SLOTS * BYTES, BYTES, hva)).isEqualTo(Errno.EINVAL);

    assertThat(vm.mmu().memslots().all()).hasSize(FILLED_SLOTS);
  }

  @Test
  void privateSlot_needsAnAlignedOffset() {
    SelftestVm vm = newVm(VmType.SW_PROTECTED);
    GuestMemfd file = vm.createFile(BYTES);
    for (long offset = 1; offset < 4096; offset++) {
      assertThat(setPrivate(vm, SLOT, 0, GPA, BYTES, file, offset)).isEqualTo(Errno.EINVAL);
    }
    assertThat(slots(vm)).isEmpty();

    assertThat(setPrivate(vm, SLOT, 0, GPA, BYTES, file, 0)).isEqualTo(Errno.OK);

    assertThat(slots(vm)).containsExactly("slot 10 [0xc0000, 0xc0200)");
  }

  @Test
  void privateSlots_overlapNeitherInTheGuestNorInTheFile() {
    SelftestVm vm = newVm(VmType.SW_PROTECTED);
    GuestMemfd file = vm.createFile(4 * BYTES);
    assertThat(setPrivate(vm, SLOT, 0, GPA, 2 * BYTES, file, 0)).isEqualTo(Errno.OK);
    assertThat(setPrivate(vm, SLOT + 1, 0, 2 * GPA, 2 * BYTES, file, 2 * BYTES))
        .isEqualTo(Errno.OK);
    vm.set(MemoryRegion.delete(SLOT));

    for (long gpa : new long[] {2 * GPA - BYTES, 2 * GPA + BYTES}) {
      assertThat(setPrivate(vm, SLOT, 0, gpa, 2 * BYTES, file, 0)).isEqualTo(Errno.EEXIST);
    }
    assertThat(setPrivate(vm, SLOT, 0, GPA, 2 * BYTES, file, BYTES)).isEqualTo(Errno.EINVAL);
    assertThat(setPrivate(vm, SLOT, 0, GPA, 2 * BYTES, file, 3 * BYTES)).isEqualTo(Errno.EINVAL);

    assertThat(slots(vm)).containsExactly("slot 11 [0x180000, 0x180400)");
    assertThat(setPrivate(vm, SLOT, 0, GPA, 2 * BYTES, file, 0)).isEqualTo(Errno.OK);
  }

  /** A guest that spins on one address, and what it met there. */
  private final class Spinning {
    final SelftestVm vm;
    final MemoryRegion region;
    final Set<Result> seen = ConcurrentHashMap.newKeySet();
    final GuestThread thread;

    Spinning(VmType type, boolean zapsAll) {
      vm = newVm(type);
      if (!zapsAll) {
        vm.memory().disableQuirkSlotZapAll();
      }
      region = vm.addSlot(SLOT, GPA, BYTES, PageLevel.LEVEL_2M);
      SelftestVcpu vcpu = vm.withCode().addVcpu();
      thread = new GuestThread(host.kernel(), "spinning guest", () -> round(vcpu));
    }

    private boolean round(SelftestVcpu vcpu) {
      Result fetched = vcpu.access(AccessKind.EXEC, SelftestVm.CODE).result();
      if (fetched != Result.DONE) {
        seen.add(fetched);
        return false;
      }
      seen.add(vcpu.access(AccessKind.READ, GPA).result());
      return true;
    }

    /** What the guest meets from now on, once nothing is on its way any more. */
    Set<Result> seenFromNow() {
      thread.awaitRound();
      thread.whilePaused(seen::clear);
      thread.awaitRound();
      return Set.copyOf(seen);
    }

    /** The guest sees this leaf of the slot at its address, and no other one. */
    void assertMapped(PageLevel level, long hva) {
      assertThat(seenFromNow()).containsExactly(Result.DONE);
      thread.whilePaused(
          () ->
              assertThat(vm.leafs(GPA - 4096, BYTES + 4096))
                  .singleElement()
                  .usingRecursiveComparison()
                  .ignoringFields("spte")
                  .isEqualTo(new MappedLeaf(GPA >>> 12, level, vm.user().pfn(hva), 0)));
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void movedSlot_showsNeverWhatWasThereBefore(boolean zapsAll) {
    Spinning guest = new Spinning(VmType.DEFAULT, zapsAll);
    MemoryRegion region = guest.region;
    MemoryRegion moved =
        MemoryRegion.shared(SLOT, region.baseGfn() - 1, region.pages(), region.hva());
    guest.assertMapped(PageLevel.LEVEL_2M, region.hva());

    for (int i = 0; i < LOOPS; i++) {
      guest.vm.set(moved);
      guest.assertMapped(PageLevel.LEVEL_4K, region.hva() + 4096);
      guest.vm.set(region);
      guest.assertMapped(PageLevel.LEVEL_2M, region.hva());
    }
    guest.thread.stop();
  }

  @ParameterizedTest
  @CsvSource({"DEFAULT, true", "DEFAULT, false", "SW_PROTECTED, true"})
  void deletedSlot_isMmio_andWithoutItsCodeTheGuestEnds(VmType type, boolean zapsAll) {
    for (int i = 0; i < LOOPS; i++) {
      Spinning guest = new Spinning(type, zapsAll);
      guest.assertMapped(PageLevel.LEVEL_2M, guest.region.hva());

      guest.vm.set(MemoryRegion.delete(SLOT));
      assertThat(guest.seenFromNow()).containsExactly(Result.MMIO);
      guest.vm.set(guest.region);
      guest.assertMapped(PageLevel.LEVEL_2M, guest.region.hva());
      guest.vm.set(MemoryRegion.delete(SLOT));
      assertThat(guest.seenFromNow()).containsExactly(Result.MMIO);

      guest.vm.set(MemoryRegion.delete(0));
      guest.thread.join();
      assertThat(guest.seen).contains(Result.ERROR).isSubsetOf(Result.ERROR, Result.MMIO);
      assertThat(guest.vm.view().directLeafs()).isEmpty();
    }
  }

  @ParameterizedTest
  @CsvSource({"DEFAULT, true, 0", "DEFAULT, false, 1", "SW_PROTECTED, true, 1"})
  void deletingASlot_zapsTheOthersOnlyWithTheQuirk_andInOrdinaryVms(
      VmType type, boolean zapsAll, int leafsLeft) {
    SelftestVm vm = newVm(type);
    if (!zapsAll) {
      vm.memory().disableQuirkSlotZapAll();
    }
    vm.addSlot(SLOT, GPA, BYTES, PageLevel.LEVEL_2M);
    SelftestVcpu vcpu = vm.withCode().addVcpu();
    vcpu.must(AccessKind.EXEC, SelftestVm.CODE);
    vcpu.must(AccessKind.WRITE, GPA);

    vm.set(MemoryRegion.delete(SLOT));

    assertThat(vm.view().directLeafs()).hasSize(leafsLeft);
    assertThat(vm.leafs(GPA, BYTES)).isEmpty();
    vcpu.must(AccessKind.EXEC, SelftestVm.CODE);
  }

  @Test
  void slotCreatedWhileAFaultFoundNone_isMmioNoLonger() {
    SelftestVm vm = newVm(VmType.DEFAULT);
    SelftestVcpu vcpu = vm.withCode().addVcpu();
    vcpu.must(AccessKind.EXEC, SelftestVm.CODE);
    MemoryRegion region =
        MemoryRegion.shared(
            SLOT, GPA >>> 12, BYTES >>> 12, vm.user().map(GPA, BYTES, PageLevel.LEVEL_2M));
    List<GuestThread> creations = new ArrayList<>();
    kernel.before(
        LockClass.MMU_LOCK,
        () -> {
          creations.add(start("creation", () -> vm.set(region)));
          creations.get(0).await(() -> vm.mmu().memslots().find(GPA >>> 12) != null);
        });

    vcpu.access(AccessKind.READ, GPA);
    creations.forEach(GuestThread::join);
    vcpu.must(AccessKind.READ, GPA);

    assertThat(vm.leafs(GPA, BYTES)).map(MappedLeaf::level).containsExactly(PageLevel.LEVEL_2M);
  }

  @ParameterizedTest
  @CsvSource({"DEFAULT, true", "DEFAULT, false", "SW_PROTECTED, true"})
  void slotDeletedWhileItsPageIsLookedUp_staysUnmapped(VmType type, boolean zapsAll) {
    SelftestVm vm = newVm(type);
    if (!zapsAll) {
      vm.memory().disableQuirkSlotZapAll();
    }
    vm.addSlot(SLOT, GPA, BYTES, PageLevel.LEVEL_2M);
    SelftestVcpu vcpu = vm.withCode().addVcpu();
    List<GuestThread> deletions = new ArrayList<>();
    vm.user()
        .onLookup(
            () -> {
              if (deletions.isEmpty()) {
                deletions.add(startDeletion(vm));
              }
            });

    vcpu.access(AccessKind.READ, GPA);
    deletions.forEach(GuestThread::join);

    assertThat(vm.leafs(GPA, BYTES)).isEmpty();
    assertThat(vcpu.access(AccessKind.READ, GPA).result()).isEqualTo(Result.MMIO);
  }

  /** Deletes the slot on another thread, which marks it and then waits for the fault. */
  private GuestThread startDeletion(SelftestVm vm) {
    long soon = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(50);
    GuestThread thread = start("deletion", () -> vm.set(MemoryRegion.delete(SLOT)));
    thread.await(() -> System.nanoTime() - soon > 0);
    return thread;
  }

  private GuestThread start(String name, Runnable body) {
    return new GuestThread(
        host.kernel(),
        name,
        () -> {
          body.run();
          return false;
        });
  }
}
