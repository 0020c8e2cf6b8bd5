package dev.septum.it.schedule;

import static dev.septum.it.schedule.TdScene.GFN;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.schedule.ScheduledKernel;
import dev.septum.kvm.PageLevel;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.module.TdxModuleConfig;
import java.util.function.Function;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * A split of a TD's leaf, with all its SEAMCALLs, and a vCPU that does not stand still. One thing
 * fails anywhere: a SEAMCALL on private memory is told BUSY, or there is no memory. Whatever comes
 * of it, the next split finds nothing in its way.
 */
class SplitFailureSchedulesTest {

  /** A split, in the mode that the module allows, against what the vCPU does. */
  private static Race race(LockMode mode, Function<TdScene, Supplier<?>> vcpu) {
    return Race.of(
        kernel -> {
          TdScene td = pendingLeaf(kernel, mode);
          return td.actor("split", () -> td.split(mode))
              .actor("vCPU", vcpu.apply(td))
              .then("leafs", td::leafs)
              .then("again", () -> td.undisturbed().split(mode))
              .then("leafs then", td::leafs);
        },
        exploration -> exploration.mostFailures(1));
  }

  /** A TD with one 2M leaf that its guest has not accepted. */
  private static TdScene pendingLeaf(ScheduledKernel kernel, LockMode mode) {
    TdxModuleConfig config =
        TdxModuleConfig.defaults().withNonBlockingResize(mode == LockMode.SHARED);
    TdScene td = new TdScene(kernel, TdxDesign.SOUND, config);
    td.boot(PageLevel.LEVEL_2M);
    td.fault(0, GFN);
    return td.busyAsChosen().outOfMemoryAsChosen();
  }

  /** BUSY does not end a split that may keep vCPUs out. */
  @Test
  void splitUnderTheWriteLock_andAFault() {
    race(LockMode.EXCLUSIVE, td -> () -> td.fault(1, GFN + 1))
        .ends(
            "split: OK, vCPU: SPURIOUS, leafs: 512x4K PENDING, again: OK,"
                + " leafs then: 512x4K PENDING",
            "split: ENOMEM, vCPU: SPURIOUS, leafs: 1x2M PENDING, again: OK,"
                + " leafs then: 512x4K PENDING");
  }

  /** The fault may find the leaf frozen, whether it is split in the end or comes back. */
  @Test
  void splitUnderTheReadLock_andAFault() {
    race(LockMode.SHARED, td -> () -> td.fault(1, GFN + 1))
        .ends(
            "split: OK, vCPU: SPURIOUS, leafs: 512x4K PENDING, again: OK,"
                + " leafs then: 512x4K PENDING",
            "split: OK, vCPU: RETRY, leafs: 512x4K PENDING, again: OK,"
                + " leafs then: 512x4K PENDING",
            "split: ENOMEM, vCPU: SPURIOUS, leafs: 1x2M PENDING, again: OK,"
                + " leafs then: 512x4K PENDING",
            "split: EBUSY, vCPU: SPURIOUS, leafs: 1x2M PENDING, again: OK,"
                + " leafs then: 512x4K PENDING",
            "split: EBUSY, vCPU: RETRY, leafs: 1x2M PENDING, again: OK,"
                + " leafs then: 512x4K PENDING");
  }

  /** Both split: too many schedules for all of them. */
  @ParameterizedTest
  @EnumSource
  void split_andAFaultThatSplits(LockMode mode) {
    race(mode, td -> () -> td.smallPagesAskedFor(GFN).fault(1, GFN + 1)).isSoundAtRandom(200);
  }

  /** The guest accepts a part of the leaf, which is split for that, too. */
  @ParameterizedTest
  @EnumSource
  void split_andAnAccept(LockMode mode) {
    race(mode, td -> () -> td.accept4K(1, GFN + 1)).isSoundAtRandom(200);
  }
}
