package dev.septum.it.schedule;

import static dev.septum.it.schedule.TdScene.GFN;

import dev.septum.kvm.PageLevel;
import dev.septum.mmu.MmuCounter;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.module.SeamcallLeaf;
import org.junit.jupiter.api.Test;

/** The race catalogue of the TDP MMU, as far as it takes a TD: each race with all its ends. */
class TdRacesTest {

  /** Mapped before and gone after; told to come again in between; not private any more. */
  @Test
  void r7_faultOfAFrameThatBecomesShared() {
    Race.of(
            kernel -> {
              TdScene td = TdScene.of(kernel, PageLevel.LEVEL_4K);
              return td.actor("ioctl", () -> td.setAttributes(GFN, 1, false))
                  .actor("vCPU", () -> td.fault(0, GFN))
                  .then("leafs", td::leafs);
            })
        .ends(
            "ioctl: OK, vCPU: FIXED, leafs: nothing",
            "ioctl: OK, vCPU: RETRY, leafs: nothing",
            "ioctl: OK, vCPU: EFAULT, leafs: nothing");
  }

  @Test
  void r7_faultOfAFrameThatBecomesPrivate() {
    Race.of(
            kernel -> {
              TdScene td = TdScene.of(kernel, PageLevel.LEVEL_4K);
              td.setAttributes(GFN, 1, false);
              return td.actor("ioctl", () -> td.setAttributes(GFN, 1, true))
                  .actor("vCPU", () -> td.fault(0, GFN))
                  .then("leafs", td::leafs);
            })
        .ends(
            "ioctl: OK, vCPU: EFAULT, leafs: nothing",
            "ioctl: OK, vCPU: RETRY, leafs: nothing",
            "ioctl: OK, vCPU: FIXED, leafs: 1x4K PENDING");
  }

  /** A neighbour is never mapped huge over a frame that is shared. */
  @Test
  void r7_faultOfANeighbour() {
    Race.of(
            kernel -> {
              TdScene td = TdScene.of(kernel, PageLevel.LEVEL_2M);
              return td.actor("ioctl", () -> td.setAttributes(GFN, 1, false))
                  .actor("vCPU", () -> td.fault(0, GFN + 1))
                  .then("leafs", td::leafs);
            })
        .ends(
            "ioctl: OK, vCPU: FIXED, leafs: 511x4K PENDING",
            "ioctl: OK, vCPU: RETRY, leafs: nothing",
            "ioctl: OK, vCPU: FIXED, leafs: 1x4K PENDING");
  }

  /** The second meets a frozen entry or loses its CAS to it; the module sees one AUG only. */
  @Test
  void r10_twoFaultsOfOneFrame() {
    Race.of(
            kernel -> {
              TdScene td = TdScene.of(kernel, PageLevel.LEVEL_2M);
              return td.actor("vCPU 0", () -> td.fault(0, GFN))
                  .actor("vCPU 1", () -> td.fault(1, GFN))
                  .then("leafs", td::leafs)
                  .then("AUGs", () -> td.tdx().module().callsOf(SeamcallLeaf.TDH_MEM_PAGE_AUG));
            })
        .ends(
            "vCPU 0: FIXED, vCPU 1: RETRY, leafs: 1x2M PENDING, AUGs: 1",
            "vCPU 0: FIXED, vCPU 1: SPURIOUS, leafs: 1x2M PENDING, AUGs: 1",
            "vCPU 0: RETRY, vCPU 1: FIXED, leafs: 1x2M PENDING, AUGs: 1",
            "vCPU 0: SPURIOUS, vCPU 1: FIXED, leafs: 1x2M PENDING, AUGs: 1");
  }

  /**
   * The module is busy once, when the table is linked or when the page is mapped: what was there
   * comes back, who came too late for it retries too, and the next fault finds nothing in its way.
   */
  @Test
  void r11_busyInsert() {
    Race.of(
            kernel -> {
              TdScene td = TdScene.of(kernel, PageLevel.LEVEL_4K).busyAsChosen();
              return td.actor("vCPU 0", () -> td.fault(0, GFN))
                  .actor("vCPU 1", () -> td.fault(1, GFN))
                  .then("leafs", td::leafs)
                  .then("tables", () -> td.count(MmuCounter.TABLES_LINKED))
                  .then("again", () -> td.undisturbed().fault(0, GFN));
            },
            exploration -> exploration.mostFailures(1))
        .ends(
            "vCPU 0: FIXED, vCPU 1: RETRY, leafs: 1x4K PENDING, tables: 4, again: SPURIOUS",
            "vCPU 0: FIXED, vCPU 1: SPURIOUS, leafs: 1x4K PENDING, tables: 4, again: SPURIOUS",
            "vCPU 0: RETRY, vCPU 1: FIXED, leafs: 1x4K PENDING, tables: 4, again: SPURIOUS",
            "vCPU 0: SPURIOUS, vCPU 1: FIXED, leafs: 1x4K PENDING, tables: 4, again: SPURIOUS",
            "vCPU 0: RETRY, vCPU 1: RETRY, leafs: nothing, tables: 3, again: FIXED",
            "vCPU 0: RETRY, vCPU 1: RETRY, leafs: nothing, tables: 4, again: FIXED");
  }

  /**
   * TRACK may be told BUSY by a vCPU that is entering: then it is kicked out and kept out, and the
   * second call must succeed. A vCPU that is inside when TRACK is through is kicked in any case.
   */
  @Test
  void r12_removalAndAVcpuInTheGuest() {
    Race.of(
            kernel -> {
              TdScene td = TdScene.of(kernel, PageLevel.LEVEL_4K);
              td.accept4K(0, GFN);
              return td.actor("VMM", () -> td.vmm().files().get(0).punchHole(GFN, GFN + 1))
                  .actor("vCPU", () -> td.run(1))
                  .then("leafs", td::leafs)
                  .then("BUSY", () -> td.count(TdxCounter.BUSY_RETRIES))
                  .then("kicks", () -> td.count(TdxCounter.KICKS));
            })
        .ends(
            "VMM: OK, leafs: nothing, BUSY: 0, kicks: 0",
            "VMM: OK, leafs: nothing, BUSY: 0, kicks: 1",
            "VMM: OK, leafs: nothing, BUSY: 1, kicks: 0",
            "VMM: OK, leafs: nothing, BUSY: 1, kicks: 1",
            "VMM: OK, leafs: nothing, BUSY: 1, kicks: 2");
  }
}
