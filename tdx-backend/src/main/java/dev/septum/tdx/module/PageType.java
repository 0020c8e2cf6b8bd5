package dev.septum.tdx.module;

/** What a physical page is used for: the PT field of a PAMT entry. */
public enum PageType {
  /** Free, or not directly assigned. */
  NDA(0),
  /** In a reserved area of a TDMR. */
  RSVD(1),
  /** A TD's private page. */
  REG(3),
  /** A TD's root. */
  TDR(4),
  /** A TD's or vCPU's control page. */
  TDCX(5),
  /** A vCPU's root. */
  TDVPR(6),
  /** A table of the secure EPT. */
  EPT(8),
  /** Dynamic mode: a 2M entry that has a page pair below. */
  PAMT(15);

  private static final PageType[] BY_CODE = new PageType[32];

  static {
    for (PageType type : values()) {
      BY_CODE[type.code] = type;
    }
  }

  private final int code;

  PageType(int code) {
    this.code = code;
  }

  /** The number in the PT field and in the registers of RDMD and RECLAIM. */
  public int code() {
    return code;
  }

  /** The type with this number. */
  static PageType of(long code) {
    PageType type = BY_CODE[(int) code & 31];
    if (type == null) {
      throw new IllegalStateException("no PAMT page type has the number " + code);
    }
    return type;
  }

  /** Whether a page of this type has an OWNER. */
  boolean isOwned() {
    return this == REG || this == TDCX || this == TDVPR || this == EPT;
  }
}
