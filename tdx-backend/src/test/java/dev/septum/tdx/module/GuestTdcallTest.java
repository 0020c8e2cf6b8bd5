package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

/** TDCALLs beside ACCEPT: attributes, VE information, TD_CTLS, VMCALL with a mask. */
final class GuestTdcallTest extends ModuleTestCase {

  private static final long GPA = 0x4000_0000L;
  private static final long ATTR_WR_INFO = 5;

  private final TestTd td = host.runnableTd();

  @Test
  void attrRd_showsSizeAndPending() {
    td.augLarge(GPA);
    assertThat(
            td.run(
                    new GuestInstruction.AttrRead(GPA + 0x3000),
                    ScriptedGuest.accept(GPA, 1),
                    new GuestInstruction.AttrRead(GPA + 0x3000),
                    new GuestInstruction.AttrRead(GPA + 1))
                .outcomes)
        .containsExactly(
            new GuestOutcome.PageAttributes(GPA | 1 | 1L << 62, 0),
            status(0),
            new GuestOutcome.PageAttributes(GPA | 1, 0),
            status(TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX));
  }

  @Test
  void attrRd_ofBlockedPageOrNothing_isAnEptViolation() {
    SeamRegs nothing = td.run(new GuestInstruction.AttrRead(GPA)).exit;
    assertThat(String.format("%d %x %x %x", nothing.rax, nothing.rcx, nothing.rdx, nothing.r8))
        .isEqualTo("48 1 0 40000000");
    td.augLarge(GPA);
    td.block(GPA, 1);
    assertThat(td.run(new GuestInstruction.AttrRead(GPA)).exit.rax).isEqualTo(48);
  }

  @Test
  void attrWr_ofPartOfALargePage_asksTheHostToDemote() {
    td.augLarge(GPA);
    SeamRegs exit = td.run(new GuestInstruction.AttrWrite(GPA + 0x1000, 0, 0)).exit;
    long info = 0L | 1 << 3 | 2 << 6 | 1 << 14;
    assertThat(String.format("%d rcx=%x rdx=%x r8=%x", exit.rax, exit.rcx, exit.rdx, exit.r8))
        .isEqualTo(String.format("48 rcx=2 rdx=%x r8=%x", info << 32 | ATTR_WR_INFO, GPA + 0x1000));
  }

  @Test
  void attrWr_ofTableOrFreeEntry_isSizeMismatchOrExit() {
    td.augSmall(GPA);
    assertThat(td.run(new GuestInstruction.AttrWrite(GPA, 1, 0)).outcomes)
        .containsExactly(status(TdxStatus.TDX_PAGE_SIZE_MISMATCH | 1));
    SeamRegs exit = td.run(new GuestInstruction.AttrWrite(GPA + 0x1000, 0, 0)).exit;
    assertThat(exit.rdx).isEqualTo(ATTR_WR_INFO);
  }

  @Test
  void attrWr_checksItsOperandsInOrder() {
    assertThat(
            td.run(
                    new GuestInstruction.AttrWrite(GPA, 3, 1),
                    new GuestInstruction.AttrWrite(GPA | 1L << 47, 0, 1),
                    new GuestInstruction.AttrWrite(GPA, 0, 1))
                .outcomes)
        .containsExactly(
            status(TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX),
            status(TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX),
            status(TdxStatus.TDX_OPERAND_INVALID | OperandId.RDX));
  }

  @Test
  void secondVeBeforeTheFirstIsRead_isADoubleFault() {
    TestTd other = host.runnableTd(TdParams.defaults().withAttributes(0));
    other.augLarge(GPA);
    ScriptedGuest guest =
        new ScriptedGuest(
            new GuestInstruction.VeInfoGet(),
            ScriptedGuest.write(GPA + 8),
            ScriptedGuest.read(GPA + 16),
            new GuestInstruction.VeInfoGet(),
            new GuestInstruction.VeInfoGet(),
            ScriptedGuest.read(GPA + 16));
    guest.readsVeInfoAtOnce = false;
    module.attachGuest(other.vcpu(), guest);
    assertThat(other.enter(guest).rax).isEqualTo(1);
    assertThat(guest.outcomes)
        .containsExactly(
            status(TdxStatus.TDX_NO_VALID_VE_INFO),
            new GuestOutcome.VirtualizationException(GPA + 8, 2),
            new GuestOutcome.DoubleFault(GPA + 16),
            new GuestOutcome.VeInfo(48, 2, GPA + 8, true),
            status(TdxStatus.TDX_NO_VALID_VE_INFO),
            new GuestOutcome.VirtualizationException(GPA + 16, 1));
  }

  @Test
  void tdControls_changeWhatPendingPagesDo() {
    TestTd other = host.runnableTd(TdParams.defaults().withFlexiblePendingVe(true));
    other.augLarge(GPA);
    assertThat(other.run(ScriptedGuest.read(GPA)).exit.rdx).isEqualTo(6);
    ScriptedGuest guest =
        other.run(
            new GuestInstruction.WriteTdControls(1L << 62),
            new GuestInstruction.WriteTdControls(1L << 63),
            new GuestInstruction.WriteTdControls(1),
            ScriptedGuest.read(GPA));
    assertThat(guest.outcomes)
        .containsExactly(
            status(TdxStatus.TDX_METADATA_FIELD_VALUE_NOT_VALID | OperandId.METADATA_FIELD),
            status(0),
            status(TdxStatus.TDX_METADATA_FIELD_NOT_WRITABLE | OperandId.METADATA_FIELD),
            new GuestOutcome.VirtualizationException(GPA, 1));
  }

  @Test
  void tdControls_ofInflexibleTd_areReadOnlyWhereItMatters() {
    assertThat(
            td.run(
                    new GuestInstruction.WriteTdControls(0),
                    new GuestInstruction.WriteTdControls(1L << 63 | 1))
                .outcomes)
        .containsExactly(
            status(TdxStatus.TDX_METADATA_FIELD_NOT_WRITABLE | OperandId.METADATA_FIELD),
            status(0));
  }

  @Test
  void maskedVmcall_exposesWhatTheMaskNames() {
    SeamRegs registers = new SeamRegs().rdx(2).rbx(3).rsi(6).rdi(7).r8(8).r9(9).r10(10).r15(15);
    long mask = 1 << 3 | 1 << 8 | 1 << 15 | 1 << 20;
    ScriptedGuest guest = td.run(new GuestInstruction.MaskedVmcall(mask, registers));
    SeamRegs exit = guest.exit;
    assertThat(exit.rax).isEqualTo(77);
    assertThat(exit.rcx).isEqualTo(mask);
    assertThat(exit.rbx).isEqualTo(3);
    assertThat(exit.rsi).isZero();
    assertThat(exit.toString()).endsWith("rdx=0 r8=8 r9=0 r10=0 r11=0 r12=0 r13=0 r14=0 r15=f");
    host.call(SeamRegs.leaf(SeamcallLeaf.TDH_VP_ENTER).rcx(td.vcpu()).rbx(33).r8(88).r9(99), guest);
    assertThat(guest.outcomes).hasSize(1);
    SeamRegs back = ((GuestOutcome.MaskedVmcallReturned) guest.outcomes.get(0)).registers();
    assertThat(back.rbx).isEqualTo(33);
    assertThat(back.toString()).endsWith("rdx=2 r8=58 r9=9 r10=a r11=0 r12=0 r13=0 r14=0 r15=0");
  }

  @Test
  void maskedVmcall_withRegistersThatCanNotBeExposed_isOperandInvalid() {
    for (long mask : new long[] {1, 2, 1 << 4, 1 << 5, 1L << 32, -1}) {
      assertThat(td.run(new GuestInstruction.MaskedVmcall(mask, new SeamRegs())).outcomes)
          .containsExactly(status(TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX));
    }
  }

  @Test
  void nmi_endsTheGuestsRunToo() {
    td.augLarge(GPA);
    ScriptedGuest guest = new ScriptedGuest(ScriptedGuest.accept(GPA, 1));
    guest.nmi = true;
    module.attachGuest(td.vcpu(), guest);
    assertThat(td.enter(guest).rax).isEqualTo(1);
    assertThat(guest.outcomes).isEmpty();
  }

  private static GuestOutcome status(long rax) {
    return new GuestOutcome.Status(rax);
  }
}
