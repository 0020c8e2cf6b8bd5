package dev.septum.lab.seamcall;

import com.google.common.collect.ImmutableMap;
import com.google.errorprone.annotations.Immutable;
import dev.septum.tdx.module.SeamRegs;
import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;

/** A general purpose register of a SEAMCALL, by its name. */
enum Register {
  RAX(r -> r.rax, (r, v) -> r.rax = v),
  RBX(r -> r.rbx, (r, v) -> r.rbx = v),
  RCX(r -> r.rcx, (r, v) -> r.rcx = v),
  RDX(r -> r.rdx, (r, v) -> r.rdx = v),
  RBP(r -> r.rbp, (r, v) -> r.rbp = v),
  RSI(r -> r.rsi, (r, v) -> r.rsi = v),
  RDI(r -> r.rdi, (r, v) -> r.rdi = v),
  R8(r -> r.r8, (r, v) -> r.r8 = v),
  R9(r -> r.r9, (r, v) -> r.r9 = v),
  R10(r -> r.r10, (r, v) -> r.r10 = v),
  R11(r -> r.r11, (r, v) -> r.r11 = v),
  R12(r -> r.r12, (r, v) -> r.r12 = v),
  R13(r -> r.r13, (r, v) -> r.r13 = v),
  R14(r -> r.r14, (r, v) -> r.r14 = v),
  R15(r -> r.r15, (r, v) -> r.r15 = v);

  private static final ImmutableMap<String, Register> BY_NAME =
      Arrays.stream(values())
          .collect(ImmutableMap.toImmutableMap(Register::toString, register -> register));

  @Immutable
  private interface Getter {
    long get(SeamRegs regs);
  }

  @Immutable
  private interface Setter {
    void set(SeamRegs regs, long value);
  }

  private final Getter getter;
  private final Setter setter;

  Register(Getter getter, Setter setter) {
    this.getter = getter;
    this.setter = setter;
  }

  static Optional<Register> of(String name) {
    return Optional.ofNullable(BY_NAME.get(name.toLowerCase(Locale.ROOT)));
  }

  long get(SeamRegs regs) {
    return getter.get(regs);
  }

  void set(SeamRegs regs, long value) {
    setter.set(regs, value);
  }

  /** The same values in registers of their own. */
  static SeamRegs copyOf(SeamRegs regs) {
    SeamRegs copy = new SeamRegs();
    for (Register register : values()) {
      register.set(copy, register.get(regs));
    }
    return copy;
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
