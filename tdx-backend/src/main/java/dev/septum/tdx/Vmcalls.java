package dev.septum.tdx;

/** Numbers of TDG.VP.VMCALL, as the guest-host interface has them. */
public final class Vmcalls {

  /** R10: done. */
  public static final long SUCCESS = 0;

  /** R10: the guest must call again from R11. */
  public static final long RETRY = 1;

  /** R10: an operand is wrong; R11 may say where. */
  public static final long INVALID_OPERAND = 0x8000000000000000L;

  /** R10: an address is not page aligned. */
  public static final long ALIGN_ERROR = 0x8000000000000002L;

  /** R10: no such subfunction here. */
  public static final long SUBFUNC_UNSUPPORTED = 0x8000000000000003L;

  /** R11: change who can see a range of memory. */
  public static final long MAP_GPA = 0x10001;

  /** R11: halt. */
  public static final long HLT = 12;

  private Vmcalls() {}
}
