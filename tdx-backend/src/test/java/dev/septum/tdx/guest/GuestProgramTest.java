package dev.septum.tdx.guest;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.Vmcalls;
import dev.septum.tdx.module.AccessKind;
import dev.septum.tdx.module.GuestInstruction;
import dev.septum.tdx.module.GuestOutcome;
import org.junit.jupiter.api.Test;

final class GuestProgramTest {

  private static final GuestInstruction HALT =
      new GuestInstruction.Vmcall(0, Vmcalls.HLT, 0, 0, 0, 0);
  private static final GuestOutcome DONE = new GuestOutcome.Done();

  private static GuestOutcome answer(long r10, long r11) {
    return new GuestOutcome.VmcallReturned(r10, r11, 0, 0, 0, 0);
  }

  private static TouchMemory touch(long gpa, int pages) {
    return new TouchMemory(gpa, gpa + pages * 4096L, AccessKind.READ);
  }

  /** Executes the next instruction. */
  private static GuestInstruction step(GuestProgram program, GuestOutcome outcome) {
    GuestInstruction instruction = program.next();
    program.retired(instruction, outcome);
    return instruction;
  }

  @Test
  void tasks_runOneAfterTheOther_thenItHaltsForEver() {
    GuestProgram program = GuestProgram.of(touch(0x1000, 2), touch(0x8000, 1));
    assertThat(step(program, DONE)).isEqualTo(new GuestInstruction.Access(0x1000, AccessKind.READ));
    assertThat(step(program, DONE)).isEqualTo(new GuestInstruction.Access(0x2000, AccessKind.READ));
    assertThat(program.isDone()).isFalse();
    assertThat(step(program, DONE)).isEqualTo(new GuestInstruction.Access(0x8000, AccessKind.READ));
    assertThat(program.isDone()).isTrue();
    assertThat(step(program, answer(0, 12))).isEqualTo(HALT);
    assertThat(program.next()).isEqualTo(HALT);
  }

  @Test
  void tasksThatAreDoneFromTheStart_areSkipped() {
    GuestProgram program = GuestProgram.of(touch(0, 0), touch(0x1000, 1), touch(0, 0));
    assertThat(step(program, DONE)).isEqualTo(new GuestInstruction.Access(0x1000, AccessKind.READ));
    assertThat(program.isDone()).isTrue();
  }

  @Test
  void theReturnOfAHalt_isNotTheAnswerToATaskAddedMeanwhile() {
    GuestProgram program = GuestProgram.of();
    GuestInstruction halt = program.next();
    ConvertMemory convert = ConvertMemory.toShared(0, 0x1000);
    program.append(convert);
    program.retired(halt, answer(Vmcalls.SUCCESS, 0));
    assertThat(convert.isDone()).isFalse();
    step(program, answer(Vmcalls.SUCCESS, 0));
    assertThat(convert.isDone()).isTrue();
  }

  @Test
  void theReturnOfAnotherProgramsCall_isNotTheAnswerToThisOnes() {
    ConvertMemory convert = ConvertMemory.toShared(0, 0x1000);
    GuestProgram program = GuestProgram.of(convert);
    program.retired(HALT, answer(Vmcalls.SUCCESS, 0));
    assertThat(convert.isDone()).isFalse();
    assertThat(program.next()).isEqualTo(convert.next());
  }

  @Test
  void touchMemory_touchesEachPageAndPanicsOnAnException() {
    TouchMemory task = touch(0x3000, 2);
    task.retired(DONE);
    assertThat(task.next()).isEqualTo(new GuestInstruction.Access(0x4000, AccessKind.READ));
    assertThatThrownBy(() -> task.retired(new GuestOutcome.VirtualizationException(0x4000, 0)))
        .isInstanceOf(GuestPanic.class)
        .hasMessageContaining("access to GPA 0x4000");
    assertThat(task.isDone()).isFalse();
    task.retired(DONE);
    assertThat(task.isDone()).isTrue();
  }

  @Test
  void convertMemory_callsMapGpaWithTheBitOfItsDirection() {
    assertThat(ConvertMemory.toShared(0x1000, 0x5000).next())
        .isEqualTo(
            new GuestInstruction.Vmcall(
                0, Vmcalls.MAP_GPA, 0x1000 | KvmTdx.SHARED_BIT, 0x4000, 0, 0));
    assertThat(ConvertMemory.toPrivate(0x1000, 0x5000).next())
        .isEqualTo(new GuestInstruction.Vmcall(0, Vmcalls.MAP_GPA, 0x1000, 0x4000, 0, 0));
  }

  @Test
  void convertMemory_toldToRetry_goesOnFromThere() {
    ConvertMemory task = ConvertMemory.toShared(0x1000, 0x5000);
    task.retired(answer(Vmcalls.RETRY, 0x3000 | KvmTdx.SHARED_BIT));
    assertThat(task.isDone()).isFalse();
    assertThat(task.next())
        .isEqualTo(
            new GuestInstruction.Vmcall(
                0, Vmcalls.MAP_GPA, 0x3000 | KvmTdx.SHARED_BIT, 0x2000, 0, 0));
    task.retired(answer(Vmcalls.SUCCESS, 0));
    assertThat(task.isDone()).isTrue();
  }

  @Test
  void convertMemory_withAnotherSharedBit_setsAndClearsThatOne() {
    long bit = KvmTdx.SHARED_BIT_PWL_5;
    ConvertMemory task = ConvertMemory.toShared(0x1000, 0x5000).withSharedBit(bit);
    task.retired(answer(Vmcalls.RETRY, 0x3000 | bit));
    assertThat(task.next())
        .isEqualTo(new GuestInstruction.Vmcall(0, Vmcalls.MAP_GPA, 0x3000 | bit, 0x2000, 0, 0));
    assertThat(ConvertMemory.toPrivate(0x1000, 0x5000).withSharedBit(bit).next())
        .isEqualTo(new GuestInstruction.Vmcall(0, Vmcalls.MAP_GPA, 0x1000, 0x4000, 0, 0));
  }

  @Test
  void convertMemory_refused_panicsWithWhereItFailed() {
    ConvertMemory task = ConvertMemory.toShared(0x1000, 0x5000);
    assertThatThrownBy(() -> task.retired(answer(Vmcalls.INVALID_OPERAND, 0x3000)))
        .isInstanceOf(GuestPanic.class)
        .hasMessage("MapGPA of 0x1000 failed: 0x8000000000000000 at 0x3000");
    assertThat(task.isDone()).isFalse();
  }

  @Test
  void convertMemory_notAnswered_panics() {
    ConvertMemory task = ConvertMemory.toShared(0x1000, 0x5000);
    assertThatThrownBy(() -> task.retired(DONE))
        .isInstanceOf(GuestPanic.class)
        .hasMessageContaining("not answered");
  }
}
