package dev.septum.lab.seamcall;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.TdxStatus;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Status words in words: name, details, class, how bad. */
class StatusTextTest {

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "0000000000000000 | TDX_SUCCESS",
        "800002000000000c | TDX_OPERAND_BUSY, operand R12 (12); class 2: busy; error, may go away",
        "8000020100000000 | TDX_PREVIOUS_TLB_EPOCH_BUSY; class 2: busy; error, may go away",
        "c000010000000000 | TDX_OPERAND_INVALID, operand RAX (0); class 1: operand; error",
        "c000060800000001 | TDX_OP_STATE_INCORRECT, OP_STATE 1 (INITIALIZED); class 6: TD state; error",
        "c000060800000063 | TDX_OP_STATE_INCORRECT, OP_STATE 99 (unknown); class 6: TD state; error",
        "c000070000000002 | TDX_VCPU_STATE_INCORRECT, vCPU state 2; class 7: vCPU state; error",
        "c000030600000001 | TDX_PAMT_PAGE_NOT_EMPTY, page 1 of the pair; class 3: physical page; error",
        "c0000b0b00000001 | TDX_PAGE_SIZE_MISMATCH, level 1; class b: S-EPT; error",
        "00000b0a00000001 | TDX_PAGE_ALREADY_ACCEPTED, level 1; class b: S-EPT; for information",
        "e000060400000000 | TDX_TD_FATAL; class 6: TD state; fatal",
        "80000d0000000007 | 0x80000d0000000000, operand RDI (7); class d: unknown; error, may go away"
      })
  void status_isSaidInWords(String status, String text) {
    assertThat(StatusText.of(Long.parseUnsignedLong(status, 16))).isEqualTo(text);
  }

  @Test
  void entry_isShownOnlyWhereTheRegistersHaveOne() {
    SeamRegs failed = new SeamRegs().rcx(0x80000000006000F0L).rdx(0x201);
    failed.rax = TdxStatus.TDX_EPT_WALK_FAILED | 1;
    assertThat(StatusText.entry(failed)).isEqualTo(Optional.of("level 1 PENDING"));

    failed.rax = TdxStatus.TDX_TLB_TRACKING_NOT_DONE | 1;
    assertThat(StatusText.entry(failed)).isEmpty();
    SeamRegs busyPamt = new SeamRegs();
    busyPamt.rax = TdxStatus.TDX_OPERAND_BUSY | 1;
    assertThat(StatusText.entry(busyPamt)).isEmpty();
    SeamRegs operandsLeft = new SeamRegs().rcx(0x40000001).rdx(0x200000);
    operandsLeft.rax = TdxStatus.TDX_OPERAND_BUSY | 1;
    assertThat(StatusText.entry(operandsLeft)).isEmpty();
  }

  @ParameterizedTest
  @CsvSource({
    "0x8401, level 1 NL_MAPPED",
    "0x301, level 1 PENDING_BLOCKED",
    "0x7f02, level 2 state 0x7f"
  })
  void entryWord_isLevelAndState(String rdx, String text) {
    assertThat(StatusText.entry(Long.decode(rdx))).isEqualTo(text);
  }

  @Test
  void exitOfATdcall_isNamed() {
    SeamRegs exit = new SeamRegs();
    exit.rax = 77;
    assertThat(TdExitText.of(exit)).isEqualTo("TD exit 77: TDCALL");
    exit.rax = 12;
    assertThat(TdExitText.of(exit)).isEqualTo("TD exit 12: other");
  }
}
