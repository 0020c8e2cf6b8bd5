package dev.septum.lab.seamcall;

import com.google.errorprone.annotations.FormatMethod;
import dev.septum.lab.seamcall.TdBuilder.BuiltTd;
import dev.septum.tdx.module.AccessKind;
import dev.septum.tdx.module.GuestInstruction;
import dev.septum.tdx.module.GuestOutcome;
import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxStatus;
import java.io.PrintWriter;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * One module under exploration: what was set, what the last call left, what was not as expected.
 */
final class Exploration {

  /** More changes than a person reads. */
  private static final int MOST_CHANGES = 16;

  private final Machine machine;
  private final TdBuilder builder;
  private final Inspection inspection;
  private final PrintWriter out;
  private final Map<String, Long> variables = new HashMap<>();
  private SeamRegs last = new SeamRegs();
  private String guestResult = "nothing";
  private BuiltTd td = new BuiltTd(0, 0);
  private int failures;

  Exploration(Machine machine, PrintWriter out) {
    this.machine = machine;
    this.builder = new TdBuilder(machine);
    this.inspection = new Inspection(machine);
    this.out = out;
  }

  /** How many expectations did not hold, and commands that stopped midway. */
  int failures() {
    return failures;
  }

  /** A register of the last call, or a variable that was set. */
  long value(String name) {
    return Register.of(name)
        .map(register -> register.get(last))
        .orElseGet(() -> variables.getOrDefault(name, 0L));
  }

  void set(String name, long value) {
    variables.put(name, value);
    print("%s = 0x%x", name, value);
  }

  /** Does what a line asks for; a command that stops midway has failed. */
  void run(Action action) {
    try {
      action.run(this);
    } catch (StepFailedException e) {
      fail("%s", String.valueOf(e.getMessage()));
    }
  }

  Machine machine() {
    return machine;
  }

  /** Makes the call and shows its registers, its status and what changed in the module. */
  void call(SeamRegs regs) {
    SeamRegs before = Register.copyOf(regs);
    ModuleSnapshot old = ModuleSnapshot.of(machine.module().view());
    machine.call(regs);
    last = regs;
    showResult(before);
    showChangesSince(old);
  }

  private void showResult(SeamRegs before) {
    String leaf = Machine.leafOf(before).map(SeamcallLeaf::kernelName).orElse("");
    boolean exited = leaf.equals(SeamcallLeaf.TDH_VP_ENTER.kernelName()) && TdExitText.isExit(last);
    print("rax %016x  %s", last.rax, exited ? TdExitText.of(last) : StatusText.of(last.rax));
    for (Register register : Register.values()) {
      long from = register.get(before);
      long to = register.get(last);
      if (register != Register.RAX && from != to) {
        print("%-3s %016x -> %016x", register, from, to);
      }
    }
    if (leaf.startsWith("TDH_MEM_") && last.rcx != before.rcx) {
      StatusText.entry(last).ifPresent(entry -> print("entry: %s", entry));
    }
  }

  private void showChangesSince(ModuleSnapshot old) {
    List<String> changes = old.changesTo(ModuleSnapshot.of(machine.module().view()));
    changes.stream().limit(MOST_CHANGES).forEach(change -> print("%s", change));
    if (changes.size() > MOST_CHANGES) {
      print("and %d changes more", changes.size() - MOST_CHANGES);
    }
  }

  /** Builds a TD and sets {@code name} to its TDR, {@code name.vcpu} to its TDVPR. */
  void buildTd(String name, TdStage stage) throws StepFailedException {
    long calls = machine.calls();
    td = builder.build();
    if (stage == TdStage.RUNNABLE) {
      builder.finish(td.tdr());
    }
    set(name, td.tdr());
    set(name + ".vcpu", td.vcpu());
    print("%s after %d SEAMCALLs", stage, machine.calls() - calls);
  }

  void addTables(long gpa, int level) throws StepFailedException {
    ModuleSnapshot old = ModuleSnapshot.of(machine.module().view());
    builder.addTables(td.tdr(), gpa, level);
    showChangesSince(old);
  }

  /** Maps a fresh page; the caller's name for it is set. */
  void map(long gpa, int level, Optional<String> name) throws StepFailedException {
    ModuleSnapshot old = ModuleSnapshot.of(machine.module().view());
    long hpa = builder.map(td.tdr(), gpa, level);
    showChangesSince(old);
    name.ifPresent(n -> set(n, hpa));
  }

  void accept(long gpa, int level) {
    execute(new GuestInstruction.Accept(gpa, level));
  }

  void access(long gpa, AccessKind kind) {
    execute(new GuestInstruction.Access(gpa, kind));
  }

  /** Enters the vCPU of the last TD until the instruction retires or exits. */
  private void execute(GuestInstruction instruction) {
    machine.guest().willExecute(instruction);
    call(SeamRegs.leaf(SeamcallLeaf.TDH_VP_ENTER).rcx(td.vcpu()));
    machine.guest().stop();
    GuestOutcome outcome = machine.guest().outcome();
    if (outcome instanceof GuestOutcome.Status status) {
      guestResult = TdxStatus.describe(status.rax());
      print("guest: %s", StatusText.of(status.rax()));
    } else {
      guestResult = outcome == null ? "nothing" : outcome.getClass().getSimpleName();
      print("guest: %s", outcome == null ? "nothing retired" : guestResult);
    }
  }

  void walk(long gpa) {
    inspection.walk(td.tdr(), gpa).forEach(line -> print("%s", line));
  }

  void pamt(long hpa) {
    inspection.pamt(hpa).forEach(line -> print("%s", line));
  }

  void showRegisters() {
    for (Register register : Register.values()) {
      print("%-3s %016x", register, register.get(last));
    }
  }

  void expectStatus(ExpectedStatus expected) {
    expect("status", expected.text(), expected.asFarAsAskedFor(last.rax));
  }

  void expectGuest(ExpectedStatus expected) {
    expect("guest", expected.text(), guestResult);
  }

  void expectRegister(Register register, long value) {
    expect(register.toString(), "%016x".formatted(value), "%016x".formatted(register.get(last)));
  }

  void expectSept(long gpa, int level, String state) {
    expect("S-EPT", state, inspection.septState(td.tdr(), gpa, level));
  }

  void expectPamt(long hpa, String type) {
    expect("PAMT", type, inspection.pageType(hpa));
  }

  private void expect(String what, String expected, String actual) {
    if (expected.equals(actual)) {
      print("ok");
    } else {
      fail("%s is %s, expected %s", what, actual, expected);
    }
  }

  /** Checks the module's invariants. */
  void checkInvariants() {
    List<String> violations = machine.module().view().violations();
    violations.forEach(violation -> fail("%s", violation));
    if (violations.isEmpty()) {
      print("the module's invariants hold");
    }
  }

  @FormatMethod
  private void fail(String format, Object... values) {
    failures++;
    print("FAILED: %s", format.formatted(values));
  }

  @FormatMethod
  void print(String format, Object... values) {
    out.println("  " + format.formatted(values));
  }
}
