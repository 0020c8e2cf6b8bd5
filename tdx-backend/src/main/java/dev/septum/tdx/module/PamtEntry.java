package dev.septum.tdx.module;

/**
 * One PAMT entry of any level, and its lock.
 *
 * <p>First quadword of a leaf: lock 15:0, page type 20:16, OWNER 63:24. Of a node (a 2M entry with
 * a page pair below): lock, type, page 0 in 63:28; second quadword: PAGE_COUNT 9:0, page 1 in
 * 63:28. Type and owner change under the exclusive lock only; the lock bits beside them change at
 * any time.
 */
final class PamtEntry extends HostPriorityLock {

  private static final int TYPE_SHIFT = 16;
  private static final long TYPE = 0x1FL << TYPE_SHIFT;
  private static final long COUNT = 0x3FF;

  private final PamtTable table;
  private final int index;
  private final int level;

  PamtEntry(PamtTable table, int index, int level) {
    this.table = table;
    this.index = index;
    this.level = level;
  }

  /** The first quadword of an unlocked leaf. */
  static long leaf(PageType type, long owner) {
    return (long) type.code() << TYPE_SHIFT | owner >>> 12 << 24;
  }

  /** 0 for 4K, 1 for 2M, 2 for 1G. */
  int level() {
    return level;
  }

  PageType type() {
    return PageType.of(content(TYPE) >>> TYPE_SHIFT);
  }

  boolean isFree() {
    return type() == PageType.NDA;
  }

  boolean isNode() {
    return type() == PageType.PAMT;
  }

  /** Whether the entry is the leaf of a page in use; a reserved page is not. */
  boolean isAssigned() {
    PageType type = type();
    return type != PageType.NDA && type != PageType.RSVD && type != PageType.PAMT;
  }

  /** The HPA of the owner's TDR; stale once the entry is free. */
  long owner() {
    return content(~LOCK_BITS) >>> 24 << 12;
  }

  /** The TD's epoch when the page was blocked last. */
  long blockingEpoch() {
    return table.second().get(index);
  }

  void setBlockingEpoch(long epoch) {
    table.second().set(index, epoch);
  }

  /** Page 0 or 1 of the pair below this node. */
  long pairPage(int page) {
    long quadword = page == 0 ? content(~LOCK_BITS) : table.second().get(index);
    return quadword >>> 28 << 12;
  }

  /** PAGE_COUNT of this node. */
  int pageCount() {
    return (int) (table.second().get(index) & COUNT);
  }

  /** Changes PAGE_COUNT and returns it; out of 0…512 it is fatal for the module. */
  int addPages(int delta) {
    int count = (int) (table.second().addAndGet(index, delta) & COUNT);
    if (count > 512) {
      throw new IllegalStateException("PAGE_COUNT left 0..512 when changed by " + delta);
    }
    return count;
  }

  /** Makes the entry a leaf in use, with BEPOCH 0. */
  void assign(PageType type, long owner) {
    table.second().set(index, 0);
    assignKeepingEpoch(type, owner);
  }

  /** Makes the entry a leaf in use that keeps the BEPOCH it had. */
  void assignKeepingEpoch(PageType type, long owner) {
    replaceContent(leaf(type, owner));
  }

  /** Makes the entry free; OWNER and BEPOCH stay behind. */
  void free() {
    for (; ; ) {
      long seen = read();
      if (compareAndSet(seen, seen & ~TYPE)) {
        return;
      }
    }
  }

  /** Makes the 2M entry a node over this page pair. */
  void attachPair(long page0, long page1, int pageCount) {
    table.second().set(index, pageCount | page1 >>> 12 << 28);
    replaceContent((long) PageType.PAMT.code() << TYPE_SHIFT | page0 >>> 12 << 28);
  }

  @Override
  long read() {
    return table.first().get(index);
  }

  @Override
  long addAndGetRest(long delta, long mask) {
    return table.first().addAndGetRest(index, delta, mask);
  }

  /** Bits beside the lock. */
  private long content(long mask) {
    return table.first().getRest(index, mask);
  }

  @Override
  boolean compareAndSet(long seen, long next) {
    return table.first().compareAndExchange(index, seen, next) == seen;
  }

  private void replaceContent(long content) {
    for (; ; ) {
      long seen = read();
      if (compareAndSet(seen, (seen & LOCK_BITS) | content)) {
        return;
      }
    }
  }
}
