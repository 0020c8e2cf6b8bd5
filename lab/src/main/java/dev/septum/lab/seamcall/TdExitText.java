package dev.septum.lab.seamcall;

import com.google.common.collect.ImmutableMap;
import dev.septum.tdx.module.SeamRegs;

/** What VP.ENTER's registers say about a TD exit, in words. */
final class TdExitText {

  private static final int EPT_VIOLATION = 48;

  private static final ImmutableMap<Integer, String> REASONS =
      ImmutableMap.of(1, "external interrupt", EPT_VIOLATION, "EPT violation", 77, "TDCALL");

  private static final ImmutableMap<Integer, String> TYPES =
      ImmutableMap.of(0, "access", 1, "ACCEPT", 5, "ATTR_WR", 6, "pending page");

  private TdExitText() {}

  /** Whether VP.ENTER came back from the TD, rather than with an error. */
  static boolean isExit(SeamRegs regs) {
    return regs.rax >>> 32 == 0;
  }

  static String of(SeamRegs regs) {
    int reason = (int) regs.rax & 0xFFFF;
    String name = "TD exit %d: %s".formatted(reason, REASONS.getOrDefault(reason, "other"));
    return reason == EPT_VIOLATION ? name + violation(regs) : name;
  }

  private static String violation(SeamRegs regs) {
    int type = (int) regs.rdx & 0xF;
    long info = regs.rdx >>> 32;
    String met =
        type == 1
            ? ", level %d asked for, met %s"
                .formatted(info & 7, StatusText.entry((info >>> 3 & 7) | (info >>> 6 & 0xFF) << 8))
            : "";
    return " at GPA 0x%x, %s%s".formatted(regs.r8, TYPES.getOrDefault(type, "type " + type), met);
  }
}
