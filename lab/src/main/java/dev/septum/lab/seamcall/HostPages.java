package dev.septum.lab.seamcall;

import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.SeamcallLeaf;

/** Hands out host memory, lowest address first, each kind of page in 2 MiB ranges of its own. */
final class HostPages {

  private static final long PAGE = 4096;
  private static final long RANGE = 2L << 20;

  private final Machine machine;
  private final long end;

  /** The first range is the host's own. */
  private long nextRange = RANGE;

  private long nextBacked;
  private long nextBare;

  HostPages(Machine machine, long memoryBytes) {
    this.machine = machine;
    this.end = memoryBytes;
  }

  /** A free 4K page whose range has a page pair, if the module wants one. */
  long backed() throws StepFailedException {
    if (nextBacked % RANGE == 0) {
      nextBacked = large();
      if (machine.module().config().dynamicPamt()) {
        machine.mustCall(
            SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD)
                .rcx(nextBacked | 1)
                .rdx(bare())
                .r8(bare()));
      }
    }
    nextBacked += PAGE;
    return nextBacked - PAGE;
  }

  /** A free 4K page whose range has no page pair. */
  long bare() throws StepFailedException {
    if (nextBare % RANGE == 0) {
      nextBare = large();
    }
    nextBare += PAGE;
    return nextBare - PAGE;
  }

  /** A free 2M page. */
  long large() throws StepFailedException {
    if (nextRange >= end) {
      throw new StepFailedException("stopped: the host's %d MiB are used up".formatted(end >> 20));
    }
    nextRange += RANGE;
    return nextRange - RANGE;
  }
}
