package dev.septum.lab.defects;

import dev.septum.dpamt.Dpamt;
import dev.septum.kernel.Gfp;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageOwner;

/** v4-put: between the drop to 0 and pamt_lock another user comes and goes. */
final class UnlockedDrop implements Demonstration {

  @Override
  public void run(Laboratory lab) {
    Bench bench = lab.scattered();
    Dpamt dpamt = bench.dpamt();
    long page = bench.pages().allocPage(PageOwner.TD_CONTROL, Gfp.KERNEL_ACCOUNT);
    lab.protocol().step("a page of the module gets a pair: get returns %s", dpamt.get(page));
    lab.protocol().step("it is put; before that takes pamt_lock, another page is got and put");
    bench
        .kernel()
        .before(
            LockClass.PAMT_LOCK,
            () ->
                bench.asAnotherThread(
                    () -> {
                      dpamt.get(page + 1);
                      dpamt.put(page + 1);
                    }));
    dpamt.put(page);
    bench.pages().freePage(page, PageOwner.TD_CONTROL);
    long refcount = dpamt.refcount(page);
    boolean hasPair = bench.hasPair(page);
    lab.protocol()
        .observed("the range has refcount %d and %s pair", refcount, hasPair ? "a" : "no");
    lab.protocol()
        .partedIf(
            refcount > 0 && !hasPair,
            "every later get of the range succeeds at once and installs nothing");
  }
}
