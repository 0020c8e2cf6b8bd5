package dev.septum.it.schedule;

import static dev.septum.it.schedule.VmScene.GFN;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.schedule.ScheduledKernel;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.MemoryRegion;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.SplitCause;
import org.junit.jupiter.api.Test;

/** The race catalogue of the TDP MMU, as far as it takes no TD: each race with all its ends. */
class OrdinaryVmRacesTest {

  /** A VM with 2 MiB pages whose one leaf is mapped, and may not be executed. */
  private static VmScene notExecutable(ScheduledKernel kernel) {
    VmScene vm = new VmScene(kernel, PageLevel.LEVEL_2M);
    vm.parameter("nx_huge_pages", "on").reloaded().touched(0, AccessKind.READ, GFN);
    return vm;
  }

  /** Its one leaf lost its write permission when dirty logging began, and logging has ended. */
  private static VmScene writeProtected(ScheduledKernel kernel) {
    VmScene vm = new VmScene(kernel, PageLevel.LEVEL_2M);
    vm.parameter("eager_page_split", "N").touched(0, AccessKind.READ, GFN);
    vm.logDirtyPages(true);
    vm.logDirtyPages(false);
    return vm;
  }

  /** Its one leaf was written, but the host has cleared the accessed bit since. */
  private static VmScene aged(ScheduledKernel kernel) {
    return new VmScene(kernel, PageLevel.LEVEL_2M).touched(0, AccessKind.WRITE, GFN).aged();
  }

  private static String splits(VmScene vm, SplitCause first, SplitCause second) {
    return vm.mmu().splits().get(first) + "+" + vm.mmu().splits().get(second);
  }

  /** One links each table; the other one's CAS fails and it retries, or it finds all done. */
  @Test
  void r1_twoFaultsOfOneFrame() {
    Race.of(
            kernel -> {
              VmScene vm = new VmScene(kernel, PageLevel.LEVEL_4K);
              return vm.actor("vCPU 0", () -> vm.fault(0, AccessKind.WRITE, GFN))
                  .actor("vCPU 1", () -> vm.fault(1, AccessKind.WRITE, GFN))
                  .then("leafs", vm::leafs)
                  .then("tables", () -> vm.count(MmuCounter.TABLES_LINKED));
            })
        .ends(
            "vCPU 0: FIXED, vCPU 1: RETRY, leafs: 1x4K, tables: 3",
            "vCPU 0: FIXED, vCPU 1: SPURIOUS, leafs: 1x4K, tables: 3",
            "vCPU 0: RETRY, vCPU 1: FIXED, leafs: 1x4K, tables: 3",
            "vCPU 0: SPURIOUS, vCPU 1: FIXED, leafs: 1x4K, tables: 3");
  }

  /** Exactly one table takes the leaf's place; who came too late traces EBUSY. */
  @Test
  void r2_eagerSplitAndSplitForAnInstructionFetch() {
    Race.of(
            kernel -> {
              VmScene vm = notExecutable(kernel);
              return vm.actor("ioctl", () -> vm.split(LockMode.SHARED))
                  .actor("vCPU", () -> vm.fault(1, AccessKind.EXEC, GFN))
                  .then("leafs", vm::executableLeafs)
                  .then("splits", () -> splits(vm, SplitCause.EAGER, SplitCause.FAULT))
                  .then("errors", vm::splitErrors);
            })
        .ends(
            "ioctl: OK, vCPU: RETRY, leafs: 512x4K (512 executable), splits: 1+0, errors: [-16]",
            "ioctl: OK, vCPU: SPURIOUS, leafs: 512x4K (512 executable), splits: 1+0, errors: []",
            "ioctl: OK, vCPU: SPURIOUS, leafs: 512x4K (512 executable), splits: 0+1,"
                + " errors: [-16]",
            "ioctl: OK, vCPU: SPURIOUS, leafs: 512x4K (512 executable), splits: 0+1, errors: []");
  }

  /** A zap before the walk, in its gap, or after it; in the gap the spare table goes unused. */
  @Test
  void r3_zapInTheGapOfASplit() {
    for (LockMode mode : LockMode.values()) {
      Race.of(
              kernel -> {
                VmScene vm = new VmScene(kernel, PageLevel.LEVEL_2M);
                vm.touched(0, AccessKind.READ, GFN);
                return vm.actor("ioctl", () -> vm.split(mode))
                    .actor("notifier", vm::invalidate)
                    .then("leafs", vm::leafs)
                    .then("gaps", () -> vm.count(MmuCounter.LOCK_DROPS_ALLOC))
                    .then("splits", () -> vm.count(MmuCounter.DIRECT_SPLITS));
              })
          .ends(
              "ioctl: OK, leafs: nothing, gaps: 0, splits: 0",
              "ioctl: OK, leafs: nothing, gaps: 1, splits: 0",
              "ioctl: OK, leafs: nothing, gaps: 1, splits: 1");
    }
  }

  /** The split's CAS fails and its children are made again: the permission is never lost. */
  @Test
  void r4_fastFaultBeforeTheExchangeOfASplit() {
    fastFaultAndSplit(LockMode.SHARED)
        .ends(
            "ioctl: OK, vCPU: FIXED, leafs: 512x4K (512 writable), errors: []",
            "ioctl: OK, vCPU: FIXED, leafs: 512x4K (512 writable), errors: [-16]",
            "ioctl: OK, vCPU: FIXED, leafs: 512x4K (1 writable), errors: []");
  }

  /** The same with hardware that sets a bit. */
  @Test
  void r4_accessedBitBeforeTheExchangeOfASplit() {
    accessAndSplit(LockMode.SHARED)
        .ends(
            "ioctl: OK, vCPU: DONE, leafs: 512x4K (512 accessed), errors: []",
            "ioctl: OK, vCPU: DONE, leafs: 512x4K (512 accessed), errors: [-16]",
            "ioctl: OK, vCPU: DONE, leafs: 512x4K (1 accessed), errors: []");
  }

  /** Under the write lock the entry is exchanged unseen: the children have the older bits. */
  @Test
  void r5_theSameUnderTheWriteLock() {
    fastFaultAndSplit(LockMode.EXCLUSIVE)
        .ends(
            "ioctl: OK, vCPU: FIXED, leafs: 512x4K (512 writable), errors: []",
            "ioctl: OK, vCPU: FIXED, leafs: 512x4K (0 writable), errors: []",
            "ioctl: OK, vCPU: FIXED, leafs: 512x4K (1 writable), errors: []");
    accessAndSplit(LockMode.EXCLUSIVE)
        .ends(
            "ioctl: OK, vCPU: DONE, leafs: 512x4K (512 accessed), errors: []",
            "ioctl: OK, vCPU: DONE, leafs: 512x4K (0 accessed), errors: []",
            "ioctl: OK, vCPU: DONE, leafs: 512x4K (1 accessed), errors: []");
  }

  private static Race fastFaultAndSplit(LockMode mode) {
    return Race.of(
        kernel -> {
          VmScene vm = writeProtected(kernel);
          return vm.actor("ioctl", () -> vm.split(mode))
              .actor("vCPU", () -> vm.writeProtectionFault(0, GFN))
              .then("leafs", vm::writableLeafs)
              .then("errors", vm::splitErrors);
        });
  }

  private static Race accessAndSplit(LockMode mode) {
    return Race.of(
        kernel -> {
          VmScene vm = aged(kernel);
          return vm.actor("ioctl", () -> vm.split(mode))
              .actor("vCPU", () -> vm.access(0, AccessKind.READ, GFN))
              .then("leafs", vm::accessedLeafs)
              .then("errors", vm::splitErrors);
        });
  }

  /** The lost bit is harmless there: what was split is protected next, and the TLBs flushed. */
  @Test
  void r5_accessedBitAndClearOfTheDirtyLog() {
    Race.of(
            kernel -> {
              VmScene vm = new VmScene(kernel, PageLevel.LEVEL_2M).initiallyAllDirty();
              vm.touched(0, AccessKind.WRITE, GFN).aged().logDirtyPages(true);
              return vm.actor("ioctl", () -> vm.clearDirtyLog(1))
                  .actor("vCPU", () -> vm.access(0, AccessKind.READ, GFN))
                  .then("leafs", vm::accessedLeafs)
                  .then("of these", vm::writableLeafs);
            })
        .ends(
            "ioctl: OK, vCPU: DONE, leafs: 512x4K (512 accessed),"
                + " of these: 512x4K (511 writable)",
            "ioctl: OK, vCPU: DONE, leafs: 512x4K (0 accessed), of these: 512x4K (511 writable)",
            "ioctl: OK, vCPU: DONE, leafs: 512x4K (1 accessed), of these: 512x4K (511 writable)");
  }

  /** A fault may split while the ioctl allocates; the bit that it clears was taken before. */
  @Test
  void r6_faultInTheGapOfAClearOfTheDirtyLog() {
    Race.of(
            kernel -> {
              VmScene vm = notExecutable(kernel).initiallyAllDirty();
              vm.logDirtyPages(true);
              return vm.actor("ioctl", () -> vm.clearDirtyLog(1))
                  .actor("vCPU", () -> vm.fault(1, AccessKind.EXEC, GFN))
                  .then("leafs", vm::writableLeafs)
                  .then("gaps", () -> vm.count(MmuCounter.LOCK_DROPS_ALLOC))
                  .then("splits", () -> splits(vm, SplitCause.DIRTY_LOG, SplitCause.FAULT))
                  .then("dirty", vm::firstDirtyWord);
            })
        .ends(
            "ioctl: OK, vCPU: SPURIOUS, leafs: 512x4K (511 writable), gaps: 0, splits: 0+1,"
                + " dirty: fffffffffffffffe",
            "ioctl: OK, vCPU: SPURIOUS, leafs: 512x4K (511 writable), gaps: 1, splits: 0+1,"
                + " dirty: fffffffffffffffe",
            "ioctl: OK, vCPU: SPURIOUS, leafs: 512x4K (511 writable), gaps: 1, splits: 1+0,"
                + " dirty: fffffffffffffffe");
  }

  /** A fault that has the read lock is done first; any later one finds its root invalid. */
  @Test
  void r8_fastZap() {
    Race.of(
            kernel -> {
              VmScene vm = new VmScene(kernel, PageLevel.LEVEL_4K);
              return vm.actor("zap", vm::zapAllFast)
                  .actor("vCPU", () -> vm.fault(0, AccessKind.WRITE, GFN))
                  .then("leafs", vm::leafs)
                  .then("again", () -> vm.reloaded().fault(0, AccessKind.WRITE, GFN))
                  .then("leafs then", vm::leafs);
            })
        .ends(
            "vCPU: FIXED, leafs: nothing, again: FIXED, leafs then: 1x4K",
            "vCPU: RETRY, leafs: nothing, again: FIXED, leafs then: 1x4K");
  }

  /** The fault's leaf goes with the table, or its CAS meets what was frozen, or comes after. */
  @Test
  void r9_faultInATableThatIsTakenDown() {
    Race.of(
            kernel -> {
              VmScene vm = new VmScene(kernel, PageLevel.LEVEL_2M);
              vm.parameter("nx_huge_pages", "on").parameter("nx_huge_pages_recovery_ratio", "1");
              vm.reloaded().touched(0, AccessKind.EXEC, GFN);
              return vm.actor("worker", () -> vm.module().recoverNxHugePages())
                  .actor("vCPU", () -> vm.fault(1, AccessKind.EXEC, GFN + 1))
                  .then("leafs", vm::leafs);
            })
        .ends(
            "vCPU: FIXED, leafs: nothing",
            "vCPU: FIXED, leafs: 1x4K",
            "vCPU: RETRY, leafs: nothing");
  }

  /** Recovery compares the parent entry only, so a fault below never makes it fail. */
  @Test
  void r13_recoveryAndAFaultBelowTheSameTable() {
    Race.of(
            kernel -> {
              VmScene vm = new VmScene(kernel, PageLevel.LEVEL_2M);
              vm.parameter("nx_huge_pages", "on").reloaded().logDirtyPages(true);
              vm.touched(0, AccessKind.WRITE, GFN);
              return vm.actor("ioctl", () -> vm.logDirtyPages(false))
                  .actor("vCPU", () -> vm.fault(1, AccessKind.EXEC, GFN + 1))
                  .then("leafs", vm::executableLeafs);
            })
        .ends(
            "ioctl: OK, vCPU: FIXED, leafs: 1x2M (0 executable)",
            "ioctl: OK, vCPU: RETRY, leafs: 1x2M (0 executable)",
            "ioctl: OK, vCPU: SPURIOUS, leafs: 512x4K (512 executable)");
  }

  /** EAGAIN while the slot is being deleted, ENOENT once it is gone, and nothing left over. */
  @Test
  void r14_prefaultOfASlotThatIsDeleted() {
    Race.of(
            kernel -> {
              VmScene vm = new VmScene(kernel, PageLevel.LEVEL_4K);
              vm.mmu().memory().disableQuirkSlotZapAll();
              return vm.actor("ioctl", () -> vm.set(MemoryRegion.delete(0)))
                  .actor("vCPU", () -> vm.vcpu(0).preFault(GFN << 12, 4096).error())
                  .then("leafs", vm::leafs);
            })
        .ends(
            "ioctl: OK, vCPU: OK, leafs: nothing",
            "ioctl: OK, vCPU: EAGAIN, leafs: nothing",
            "ioctl: OK, vCPU: ENOENT, leafs: nothing");
  }

  /** The huge leaf is as writable as its first part was when it was looked at. */
  @Test
  void r15_recoveryAndAWrite() {
    Race.of(
            kernel -> {
              VmScene vm = new VmScene(kernel, PageLevel.LEVEL_2M);
              vm.logDirtyPages(true);
              vm.touched(0, AccessKind.WRITE, GFN).firstDirtyWord();
              return vm.actor("ioctl", () -> vm.logDirtyPages(false))
                  .actor("vCPU", () -> vm.access(0, AccessKind.WRITE, GFN))
                  .then("leafs", vm::writableLeafs)
                  .then("once more", () -> vm.access(0, AccessKind.WRITE, GFN))
                  .then("leafs then", vm::writableLeafs);
            })
        .ends(
            "ioctl: OK, vCPU: DONE, leafs: 1x2M (0 writable), once more: DONE,"
                + " leafs then: 1x2M (1 writable)",
            "ioctl: OK, vCPU: DONE, leafs: 1x2M (1 writable), once more: DONE,"
                + " leafs then: 1x2M (1 writable)");
  }
}
