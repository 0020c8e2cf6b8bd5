package dev.septum.tdx.module;

/** The general purpose registers of one SEAMCALL: operands in, results out, in place. */
public final class SeamRegs {

  public long rax;
  public long rbx;
  public long rcx;
  public long rdx;
  public long rbp;
  public long rsi;
  public long rdi;
  public long r8;
  public long r9;
  public long r10;
  public long r11;
  public long r12;
  public long r13;
  public long r14;
  public long r15;

  /** Registers that call this leaf, version 0; all operands are 0. */
  public static SeamRegs leaf(SeamcallLeaf leaf) {
    return leaf(leaf, 0);
  }

  /** Registers that call this version of a leaf; all operands are 0. */
  public static SeamRegs leaf(SeamcallLeaf leaf, int version) {
    SeamRegs regs = new SeamRegs();
    regs.rax = leaf.number() | (long) version << 16;
    return regs;
  }

  /** Sets RBX. */
  public SeamRegs rbx(long value) {
    rbx = value;
    return this;
  }

  /** Sets RCX. */
  public SeamRegs rcx(long value) {
    rcx = value;
    return this;
  }

  /** Sets RDX. */
  public SeamRegs rdx(long value) {
    rdx = value;
    return this;
  }

  /** Sets RBP. */
  public SeamRegs rbp(long value) {
    rbp = value;
    return this;
  }

  /** Sets RSI. */
  public SeamRegs rsi(long value) {
    rsi = value;
    return this;
  }

  /** Sets RDI. */
  public SeamRegs rdi(long value) {
    rdi = value;
    return this;
  }

  /** Sets R8. */
  public SeamRegs r8(long value) {
    r8 = value;
    return this;
  }

  /** Sets R9. */
  public SeamRegs r9(long value) {
    r9 = value;
    return this;
  }

  /** Sets R10. */
  public SeamRegs r10(long value) {
    r10 = value;
    return this;
  }

  /** Sets R11. */
  public SeamRegs r11(long value) {
    r11 = value;
    return this;
  }

  /** Sets R12. */
  public SeamRegs r12(long value) {
    r12 = value;
    return this;
  }

  /** Sets R13. */
  public SeamRegs r13(long value) {
    r13 = value;
    return this;
  }

  /** Sets R14. */
  public SeamRegs r14(long value) {
    r14 = value;
    return this;
  }

  /** Sets R15. */
  public SeamRegs r15(long value) {
    r15 = value;
    return this;
  }

  /** Takes over every register of {@code other}. */
  void copyFrom(SeamRegs other) {
    rax = other.rax;
    rbx = other.rbx;
    rcx = other.rcx;
    rdx = other.rdx;
    rbp = other.rbp;
    rsi = other.rsi;
    rdi = other.rdi;
    r8 = other.r8;
    r9 = other.r9;
    r10 = other.r10;
    r11 = other.r11;
    r12 = other.r12;
    r13 = other.r13;
    r14 = other.r14;
    r15 = other.r15;
  }

  /** Takes over the registers that {@code mask} names by their numbers; RSP is none of them. */
  void copyFrom(SeamRegs other, long mask) {
    rax = chosen(mask, 0, other.rax, rax);
    rcx = chosen(mask, 1, other.rcx, rcx);
    rdx = chosen(mask, 2, other.rdx, rdx);
    rbx = chosen(mask, 3, other.rbx, rbx);
    rbp = chosen(mask, 5, other.rbp, rbp);
    rsi = chosen(mask, 6, other.rsi, rsi);
    rdi = chosen(mask, 7, other.rdi, rdi);
    r8 = chosen(mask, 8, other.r8, r8);
    r9 = chosen(mask, 9, other.r9, r9);
    r10 = chosen(mask, 10, other.r10, r10);
    r11 = chosen(mask, 11, other.r11, r11);
    r12 = chosen(mask, 12, other.r12, r12);
    r13 = chosen(mask, 13, other.r13, r13);
    r14 = chosen(mask, 14, other.r14, r14);
    r15 = chosen(mask, 15, other.r15, r15);
  }

  private static long chosen(long mask, int number, long theirs, long ours) {
    return (mask >>> number & 1) == 0 ? ours : theirs;
  }

  @Override
  public String toString() {
    return String.format(
        "rax=%x rcx=%x rdx=%x r8=%x r9=%x r10=%x r11=%x r12=%x r13=%x r14=%x r15=%x",
        rax, rcx, rdx, r8, r9, r10, r11, r12, r13, r14, r15);
  }
}
