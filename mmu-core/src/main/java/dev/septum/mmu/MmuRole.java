package dev.septum.mmu;

import dev.septum.kvm.PageLevel;

/** What a table page is, as KVM's 32-bit word ({@code union kvm_mmu_page_role}). */
record MmuRole(int word) {

  private static final int LEVEL_MASK = 0xf;
  private static final int DIRECT = 1 << 7;
  private static final int ACCESS_ALL = 7 << 8;
  private static final int INVALID = 1 << 11;
  private static final int EFER_NX = 1 << 12;
  private static final int CR0_WP = 1 << 13;
  private static final int AD_DISABLED = 1 << 16;
  private static final int MIRROR = 1 << 19;
  private static final int SMM = 1 << 24;

  static MmuRole root(PageLevel level, boolean adEnabled, int asId) {
    return new MmuRole(
        level.number()
            | DIRECT
            | ACCESS_ALL
            | EFER_NX
            | CR0_WP
            | (adEnabled ? 0 : AD_DISABLED)
            | (asId == 0 ? 0 : SMM));
  }

  MmuRole asMirror() {
    return new MmuRole(word | MIRROR);
  }

  MmuRole asInvalid() {
    return new MmuRole(word | INVALID);
  }

  /** The role of a table one level down: the whole tree differs only in the level. */
  MmuRole child() {
    return new MmuRole((word & ~(LEVEL_MASK | INVALID)) | level().below().number());
  }

  PageLevel level() {
    return PageLevel.of(word & LEVEL_MASK);
  }

  boolean isMirror() {
    return (word & MIRROR) != 0;
  }

  boolean isInvalid() {
    return (word & INVALID) != 0;
  }

  int asId() {
    return (word & SMM) == 0 ? 0 : 1;
  }

  /** The role as trace events print it. */
  String text() {
    return "l%d 8-byte q0 direct wux%s nxe %sad"
        .formatted(
            level().number(), isInvalid() ? " invalid" : "", (word & AD_DISABLED) == 0 ? "" : "!");
  }
}
