package dev.septum.it.schedule;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.schedule.Exploration;
import dev.septum.kernel.schedule.ExplorationResult;
import dev.septum.kernel.schedule.Schedule;
import dev.septum.kernel.schedule.ScheduledKernel;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.module.TdxModuleConfig;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/**
 * Defect f: DEMOTE is given a page pair from a range to which PAMT.ADD adds a pair for another TD.
 * As posted, DEMOTE holds no lock against that; nobody has to know where to look for it.
 */
class DemoteMeetsPamtAddTest {

  /** What DEMOTE leaves behind that met BUSY a second time: a leaf without a way back. */
  private static final String REFUSED = "VM 1: the leaf at gfn 0x200 is BLOCKED";

  private static Race race(TdxDesign design) {
    return Race.of(kernel -> scene(kernel, design));
  }

  private static Scene scene(ScheduledKernel kernel, TdxDesign design) {
    TdScene td = new TdScene(kernel, design, TdxModuleConfig.defaults());
    td.boot(PageLevel.LEVEL_2M);
    td.accepted2M();
    long page = fillCacheFromUnbackedRange(td);
    Errno[] got = new Errno[1];
    return td.actor("TD 1", () -> td.split(LockMode.EXCLUSIVE))
        .actor("TD 2", () -> got[0] = td.tdx().dpamt().get(page))
        .then("leafs", td::leafs)
        .then("pairs kept", () -> giveBack(td, page, got[0]));
  }

  /** Fills the split cache from a range without a pair; another page of that range. */
  private static long fillCacheFromUnbackedRange(TdScene td) {
    PageAllocator pages = td.pages();
    List<Long> inTheWay = new ArrayList<>();
    long page = pages.allocPage(PageOwner.TD_CONTROL, Gfp.KERNEL_ACCOUNT);
    while (td.tdx().dpamt().refcount(page) != 0) {
      inTheWay.add(page);
      page = pages.allocPage(PageOwner.TD_CONTROL, Gfp.KERNEL_ACCOUNT);
    }
    Errno filled = td.kvm().ops().topupExternalPerVmSplitCache(td.kvm(), PageLevel.LEVEL_2M);
    assertThat(filled).isEqualTo(Errno.OK);
    inTheWay.forEach(pfn -> pages.freePage(pfn, PageOwner.TD_CONTROL));
    return page;
  }

  private static long giveBack(TdScene td, long page, Errno got) {
    if (!got.isError()) {
      td.tdx().dpamt().put(page);
    }
    td.pages().freePage(page, PageOwner.TD_CONTROL);
    return td.tdx().dpamt().refcount(page);
  }

  @Test
  void asPosted_itIsFoundShrunkAndReplayed() {
    Exploration exploration = race(TdxDesign.POSTED_V3).exploration().mostSchedules(200);

    ExplorationResult.Failure found =
        exploration.pct(1, 2).failures().stream()
            .filter(failure -> failure.finding().report().contains(REFUSED))
            .findFirst()
            .orElseThrow();

    ExplorationResult.Failure shrunk = exploration.shrink(found);
    assertThat(shrunk.finding().isLike(found.finding())).isTrue();
    assertThat(shrunk.preemptions()).isEqualTo(1);

    Schedule readBack = Schedule.parse(shrunk.schedule().toText());
    ExplorationResult again = exploration.replay(readBack);
    assertThat(again.failures().get(0).finding()).isEqualTo(shrunk.finding());
  }

  @Test
  void inTheSoundDesign_noScheduleHasIt() {
    race(TdxDesign.SOUND).ends("TD 1: OK, TD 2: OK, leafs: 512x4K, pairs kept: 0");
  }
}
