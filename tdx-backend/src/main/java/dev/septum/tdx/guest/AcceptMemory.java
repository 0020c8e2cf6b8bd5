package dev.septum.tdx.guest;

import static com.google.common.base.Preconditions.checkArgument;

import dev.septum.tdx.module.AccessKind;
import dev.septum.tdx.module.GuestInstruction;
import dev.septum.tdx.module.GuestOutcome;
import dev.septum.tdx.module.TdxStatus;

/**
 * Accepts a range of private memory as Linux does ({@code tdx_accept_memory}): at 2M where a whole
 * 2M page is left and aligned, at 4K elsewhere and where the host mapped smaller pages.
 */
public final class AcceptMemory implements GuestTask {

  /** How the guest goes about it. */
  public enum Order {
    /** ACCEPT is the first instruction that names a page. */
    ACCEPT_FIRST,
    /** Each page is written to first; the #VE that this raises makes the guest accept it. */
    TOUCH_FIRST
  }

  private static final long SIZE_4K = 4096;
  private static final long SIZE_2M = 2L << 20;

  private final long end;
  private final Order order;
  private long gpa;

  /** Up to here the guest accepts at 4K, the host having mapped 4K pages. */
  private long smallUntil;

  private boolean touched;
  private long accepts2M;
  private long accepts4K;

  /** Accepts bytes {@code start} to {@code end}, both multiples of 4096. */
  public AcceptMemory(long start, long end, Order order) {
    checkArgument(
        start % SIZE_4K == 0 && end % SIZE_4K == 0 && start <= end,
        "cannot accept [0x%s, 0x%s)",
        Long.toHexString(start),
        Long.toHexString(end));
    this.gpa = start;
    this.end = end;
    this.order = order;
  }

  /** The same at 4K throughout. */
  public AcceptMemory pageByPage() {
    smallUntil = end;
    return this;
  }

  /** Pages accepted at 2M. */
  public long accepts2M() {
    return accepts2M;
  }

  /** Pages accepted at 4K. */
  public long accepts4K() {
    return accepts4K;
  }

  /** Bytes accepted. */
  public long bytes() {
    return accepts2M * SIZE_2M + accepts4K * SIZE_4K;
  }

  @Override
  public boolean isDone() {
    return gpa == end;
  }

  @Override
  public GuestInstruction next() {
    return order == Order.TOUCH_FIRST && !touched
        ? new GuestInstruction.Access(gpa, AccessKind.WRITE)
        : new GuestInstruction.Accept(gpa, isLarge() ? 1 : 0);
  }

  private boolean isLarge() {
    return gpa % SIZE_2M == 0 && end - gpa >= SIZE_2M && gpa >= smallUntil;
  }

  @Override
  public void retired(GuestOutcome outcome) {
    if (outcome instanceof GuestOutcome.Status status) {
      accepted(status.rax());
    } else {
      // Touched: either a #VE, which the accept answers, or a page that is accepted already.
      touched = true;
    }
  }

  private void accepted(long status) {
    boolean large = isLarge();
    long code = TdxStatus.code(status);
    if (large && code == TdxStatus.TDX_PAGE_SIZE_MISMATCH) {
      smallUntil = gpa + SIZE_2M;
      return;
    }
    if (!TdxStatus.isSuccess(status) && code != TdxStatus.TDX_PAGE_ALREADY_ACCEPTED) {
      throw new GuestPanic(
          "ACCEPT of GPA 0x%x failed: %s".formatted(gpa, TdxStatus.describe(status)));
    }
    if (large) {
      accepts2M++;
    } else {
      accepts4K++;
    }
    gpa += large ? SIZE_2M : SIZE_4K;
    touched = false;
  }
}
