package dev.septum.it.selftest;

import java.util.BitSet;
import java.util.Random;

/**
 * The pages that one vCPU writes, in its order, and which of them a harvest of dirty pages must or
 * may report. The vCPU's thread writes, the harvesting thread reads.
 *
 * <p>Half of the pages are drawn from a few hot ones, so that pages are written again around a
 * harvest.
 */
final class WriteLog {

  private static final int HOT_PAGES = 512;

  private final Random random;
  private final int pages;
  private final int[] written;

  /** Writes that began, and that are over. Each is set after the entry that it counts. */
  private volatile int begun;

  private volatile int over;

  /** Where the last harvest began and ended, in writes. */
  private int overBefore;

  private int begunBefore;

  /** A log of at most that many writes. */
  WriteLog(long seed, int pages, int capacity) {
    this.random = new Random(seed);
    this.pages = pages;
    this.written = new int[capacity];
  }

  boolean isFull() {
    return over == written.length;
  }

  /** The page whose write is under way; if there is none, the next one that is drawn. */
  int begin() {
    if (begun == over) {
      written[begun] =
          random.nextBoolean()
              ? random.nextInt(HOT_PAGES) * (pages / HOT_PAGES)
              : random.nextInt(pages);
      begun = over + 1;
    }
    return written[over];
  }

  /** The write that began last is over. */
  void end() {
    over = begun;
  }

  /** Writes that are over. */
  int count() {
    return over;
  }

  /**
   * What one harvest has to say.
   *
   * @param must pages of writes that began after the last harvest and were over before this one
   * @param may pages of writes that were under way at any time since the last harvest began
   */
  record Expected(BitSet must, BitSet may) {}

  /**
   * Runs a harvest and says what it has to report. A write at the time of a harvest may be reported
   * by this one or by the next.
   */
  Expected during(Runnable harvest) {
    int overNow = over;
    harvest.run();
    int begunNow = begun;
    Expected expected = new Expected(pages(begunBefore, overNow), pages(overBefore, begunNow));
    overBefore = overNow;
    begunBefore = begunNow;
    return expected;
  }

  private BitSet pages(int from, int to) {
    BitSet set = new BitSet(pages);
    for (int i = from; i < to; i++) {
      set.set(written[i]);
    }
    return set;
  }
}
