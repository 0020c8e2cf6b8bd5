package dev.septum.lab.defects;

import static dev.septum.lab.defects.Bench.GFN;

import dev.septum.dpamt.Dpamt;
import dev.septum.kernel.Gfp;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.SharedWord;
import dev.septum.kvm.PageLevel;
import dev.septum.tdx.TdxCounter;
import java.util.ArrayList;
import java.util.List;

/**
 * f: the pages that DEMOTE hands over are in a range to which another TD's PAMT.ADD is under way.
 */
final class DemoteMeetsPamtAdd implements Demonstration {

  @Override
  public void run(Laboratory lab) {
    Bench bench = lab.packed();
    bench.acceptLeaf();
    lab.protocol().step("the pages in the split cache share a 2 MiB range that has no pair yet");
    long page = fillCacheFromUnbackedRange(bench);
    lab.protocol().step("PAMT.ADD for another TD's page of that range is in progress");
    List<KernelThread> splitter = new ArrayList<>();
    bench
        .kernel()
        .before(
            LockClass.PAMT_LOCK,
            () ->
                bench.kernel().insideNextTable(() -> splitter.add(splitUntilItEndsOrWaits(bench))));
    bench.asAnotherThread(() -> bench.dpamt().get(page));
    splitter.forEach(KernelThread::join);
    lab.protocol()
        .observed(
            "%d SEAMCALL(s) of the split met BUSY and were tried again",
            bench.kvm().counters().get(TdxCounter.BUSY_RETRIES));
    lab.protocol()
        .partedIf(
            bench.kvm().isBugged(),
            "another TD's PAMT.ADD bugs this one; kicking its own vCPUs cannot help");
    bench.compare(GFN + 0x30);
    bench.dpamt().put(page);
    bench.pages().freePage(page, PageOwner.TD_CONTROL);
  }

  /** Fills the split cache from a range without a pair; another page of that range. */
  private static long fillCacheFromUnbackedRange(Bench bench) {
    PageAllocator pages = bench.pages();
    Dpamt dpamt = bench.dpamt();
    List<Long> inTheWay = new ArrayList<>();
    long page = pages.allocPage(PageOwner.TD_CONTROL, Gfp.KERNEL_ACCOUNT);
    while (dpamt.refcount(page) != 0) {
      inTheWay.add(page);
      page = pages.allocPage(PageOwner.TD_CONTROL, Gfp.KERNEL_ACCOUNT);
    }
    bench.kvm().ops().topupExternalPerVmSplitCache(bench.kvm(), PageLevel.LEVEL_2M);
    inTheWay.forEach(pfn -> pages.freePage(pfn, PageOwner.TD_CONTROL));
    return page;
  }

  /** Starts the split, and waits until it is over or waits for pamt_lock. */
  private static KernelThread splitUntilItEndsOrWaits(Bench bench) {
    SharedWord goOn = bench.kernel().word(0);
    bench.kernel().before(LockClass.PAMT_LOCK, () -> goOn.set(1));
    KernelThread splitter =
        bench
            .kernel()
            .spawn(
                "TD 1",
                () -> {
                  bench.share(GFN + 0x10, GFN + 0x11);
                  goOn.set(1);
                });
    while (goOn.get() == 0) {
      bench.kernel().condResched();
    }
    return splitter;
  }
}
