package dev.septum.tdx.guest;

import dev.septum.tdx.module.AccessKind;
import dev.septum.tdx.module.GuestInstruction;
import dev.septum.tdx.module.GuestOutcome;

/**
 * Accesses one address in each page of a range, or fewer, that the guest has accepted or made
 * shared.
 */
public final class TouchMemory implements GuestTask {

  private final long end;
  private final AccessKind kind;
  private final long every;
  private long gpa;

  /** Touches the 4K pages from {@code start} to {@code end}; with the shared bit, shared pages. */
  public TouchMemory(long start, long end, AccessKind kind) {
    this(start, end, 4096, kind);
  }

  /** Touches one page in {@code every} bytes. */
  public TouchMemory(long start, long end, long every, AccessKind kind) {
    this.gpa = start;
    this.end = end;
    this.every = every;
    this.kind = kind;
  }

  @Override
  public boolean isDone() {
    return gpa >= end;
  }

  @Override
  public GuestInstruction next() {
    return new GuestInstruction.Access(gpa, kind);
  }

  @Override
  public void retired(GuestOutcome outcome) {
    if (!(outcome instanceof GuestOutcome.Done)) {
      throw new GuestPanic("access to GPA 0x%x: %s".formatted(gpa, outcome));
    }
    gpa += every;
  }
}
