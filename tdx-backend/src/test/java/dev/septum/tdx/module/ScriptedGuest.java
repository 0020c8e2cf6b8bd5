package dev.septum.tdx.module;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/** A guest that executes a list of instructions; at its end its processor has an interrupt. */
final class ScriptedGuest implements TdGuest, LogicalProcessor {

  private final Deque<GuestInstruction> script = new ArrayDeque<>();
  final List<GuestOutcome> outcomes = new ArrayList<>();
  final List<Long> sharedPages = new ArrayList<>();
  SeamRegs exit = new SeamRegs();
  boolean readsVeInfoAtOnce = true;
  boolean nmi;
  int number;
  boolean interruptsEnabled = true;

  ScriptedGuest(GuestInstruction... instructions) {
    script.addAll(List.of(instructions));
  }

  static GuestInstruction accept(long gpa, int level) {
    return new GuestInstruction.Accept(gpa, level);
  }

  static GuestInstruction read(long gpa) {
    return new GuestInstruction.Access(gpa, AccessKind.READ);
  }

  static GuestInstruction write(long gpa) {
    return new GuestInstruction.Access(gpa, AccessKind.WRITE);
  }

  @Override
  public GuestInstruction next() {
    return script.element();
  }

  @Override
  public void retired(GuestInstruction instruction, GuestOutcome outcome) {
    script.remove();
    outcomes.add(outcome);
  }

  @Override
  public boolean readsVeInfoAtOnce() {
    return readsVeInfoAtOnce;
  }

  @Override
  public int number() {
    return number;
  }

  @Override
  public boolean isNmiPending() {
    return nmi;
  }

  @Override
  public boolean areInterruptsEnabled() {
    return interruptsEnabled;
  }

  @Override
  public boolean isInterruptPending() {
    return script.isEmpty();
  }

  @Override
  public boolean isSharedMapped(long gpaWithoutSharedBit, AccessKind kind) {
    return sharedPages.contains(gpaWithoutSharedBit & -TestHost.PAGE);
  }
}
