package dev.septum.lab.seamcall;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import dev.septum.tdx.module.OperandId;
import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxStatus;
import java.util.Arrays;
import java.util.Optional;

/** Status words and what comes with them, in words. */
final class StatusText {

  private static final ImmutableMap<Integer, String> CLASSES =
      ImmutableMap.<Integer, String>builder()
          .put(0x0, "flow")
          .put(0x1, "operand")
          .put(0x2, "busy")
          .put(0x3, "physical page")
          .put(0x4, "TD pages")
          .put(0x5, "module state")
          .put(0x6, "TD state")
          .put(0x7, "vCPU state")
          .put(0x8, "keys and caches")
          .put(0xA, "TDMR")
          .put(0xB, "S-EPT")
          .put(0xC, "metadata field")
          .put(0xE, "migration")
          .put(0xF, "IOMMU")
          .buildOrThrow();

  private static final ImmutableList<String> OP_STATES =
      ImmutableList.of(
          "UNINITIALIZED",
          "INITIALIZED",
          "RUNNABLE",
          "LIVE_EXPORT",
          "PAUSED_EXPORT",
          "POST_EXPORT",
          "MEMORY_IMPORT",
          "STATE_IMPORT",
          "POST_IMPORT",
          "LIVE_IMPORT",
          "FAILED_IMPORT",
          "START_IMPORT");

  /** Codes whose RCX and RDX show an S-EPT entry. */
  private static final ImmutableSet<Long> WITH_ENTRY =
      ImmutableSet.of(
          TdxStatus.TDX_OPERAND_BUSY,
          TdxStatus.TDX_EPT_WALK_FAILED,
          TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT,
          TdxStatus.TDX_GPA_RANGE_NOT_BLOCKED,
          TdxStatus.TDX_GPA_RANGE_ALREADY_BLOCKED,
          TdxStatus.TDX_EPT_PAGE_NOT_FREE,
          TdxStatus.TDX_EPT_INVALID_PROMOTE_CONDITIONS);

  /** The bits of RDX that tell of an S-EPT entry: level, state, VM. */
  private static final long ENTRY_INFO = 0x3FF07;

  private StatusText() {}

  /** Name, details and class: {@code TDX_OPERAND_BUSY, operand R12 (12); class 2: busy; error}. */
  static String of(long status) {
    String name = TdxStatus.describe(TdxStatus.code(status)).replaceFirst(" \\(0x.*", "");
    if (status == 0) {
      return name;
    }
    int kind = (int) (status >>> 40) & 0xFF;
    return "%s%s; class %x: %s; %s"
        .formatted(
            name, details(status), kind, CLASSES.getOrDefault(kind, "unknown"), severity(status));
  }

  private static String details(long status) {
    int detail = (int) status;
    long code = TdxStatus.code(status);
    if (code == TdxStatus.TDX_OP_STATE_INCORRECT) {
      boolean known = detail >= 0 && detail < OP_STATES.size();
      return ", OP_STATE %d (%s)".formatted(detail, known ? OP_STATES.get(detail) : "unknown");
    }
    if (code == TdxStatus.TDX_VCPU_STATE_INCORRECT) {
      return ", vCPU state " + detail;
    }
    if (code == TdxStatus.TDX_PAMT_PAGE_NOT_EMPTY) {
      return ", page %d of the pair".formatted(detail);
    }
    if (code == TdxStatus.TDX_PAGE_SIZE_MISMATCH || code == TdxStatus.TDX_PAGE_ALREADY_ACCEPTED) {
      return ", level " + detail;
    }
    // 0 is the number of RAX, but of nothing in codes without an operand.
    boolean none = detail == 0 && code != TdxStatus.TDX_OPERAND_INVALID;
    return none ? "" : ", operand %s (%d)".formatted(OperandId.name(detail), detail);
  }

  private static String severity(long status) {
    if ((status & 1L << 61) != 0) {
      return "fatal";
    }
    if (!TdxStatus.isError(status)) {
      return "for information";
    }
    return (status & 1L << 62) != 0 ? "error" : "error, may go away";
  }

  /** The S-EPT entry that RCX and RDX show after a TDH.MEM leaf, if this status comes with one. */
  static Optional<String> entry(SeamRegs regs) {
    boolean isEntry = regs.rcx != 0 && (regs.rdx & ~ENTRY_INFO) == 0;
    boolean shown =
        isEntry && (int) regs.rax == OperandId.RCX && WITH_ENTRY.contains(TdxStatus.code(regs.rax));
    return shown ? Optional.of(entry(regs.rdx)) : Optional.empty();
  }

  /** {@code level 1 PENDING_BLOCKED} for what RDX shows of an S-EPT entry. */
  static String entry(long rdx) {
    int arch = (int) (rdx >>> 8) & 0xFF;
    String state =
        Arrays.stream(SeptState.values())
            .filter(s -> s.arch() == arch)
            .map(SeptState::name)
            .findFirst()
            .orElse("state 0x" + Integer.toHexString(arch));
    return "level %d %s".formatted(rdx & 7, state);
  }
}
