package dev.septum.tdx.module;

import java.util.Optional;

/** The SEAMCALL leaves that the module implements. */
public enum SeamcallLeaf {
  TDH_VP_ENTER(0),
  TDH_MNG_ADDCX(1),
  TDH_MEM_PAGE_ADD(2),
  TDH_MEM_SEPT_ADD(3),
  TDH_VP_ADDCX(4),
  TDH_MEM_PAGE_RELOCATE(5),
  TDH_MEM_PAGE_AUG(6),
  TDH_MEM_RANGE_BLOCK(7),
  TDH_MNG_KEY_CONFIG(8),
  TDH_MNG_CREATE(9),
  TDH_VP_CREATE(10),
  TDH_MEM_RD(12),
  TDH_MEM_WR(14),
  TDH_MEM_PAGE_DEMOTE(15),
  TDH_MR_EXTEND(16),
  TDH_MR_FINALIZE(17),
  TDH_VP_FLUSH(18),
  TDH_MNG_VPFLUSHDONE(19),
  TDH_MNG_KEY_FREEID(20),
  TDH_MNG_INIT(21),
  TDH_VP_INIT(22),
  TDH_MEM_PAGE_PROMOTE(23),
  TDH_PHYMEM_PAGE_RDMD(24),
  TDH_MEM_SEPT_RD(25),
  TDH_MNG_KEY_RECLAIMID(27),
  TDH_PHYMEM_PAGE_RECLAIM(28),
  TDH_MEM_PAGE_REMOVE(29),
  TDH_MEM_SEPT_REMOVE(30),
  TDH_SYS_KEY_CONFIG(31),
  TDH_SYS_INIT(33),
  TDH_SYS_RD(34),
  TDH_SYS_LP_INIT(35),
  TDH_SYS_TDMR_INIT(36),
  TDH_MEM_TRACK(38),
  TDH_MEM_RANGE_UNBLOCK(39),
  TDH_PHYMEM_CACHE_WB(40),
  TDH_PHYMEM_PAGE_WBINVD(41),
  TDH_SYS_LP_SHUTDOWN(44),
  TDH_SYS_CONFIG(45),
  TDH_PHYMEM_PAMT_ADD(58),
  TDH_PHYMEM_PAMT_REMOVE(59);

  private static final SeamcallLeaf[] BY_NUMBER = new SeamcallLeaf[64];

  static {
    for (SeamcallLeaf leaf : values()) {
      BY_NUMBER[leaf.number] = leaf;
    }
  }

  private final int number;

  SeamcallLeaf(int number) {
    this.number = number;
  }

  /** The leaf number, RAX bits 15:0. */
  public int number() {
    return number;
  }

  /** The leaf's name as the kernel spells it: {@code TDH_MEM_RANGE_BLOCK}. */
  public String kernelName() {
    return name();
  }

  /** The leaf with this number, if the module implements it. */
  public static Optional<SeamcallLeaf> of(int number) {
    boolean known = number >= 0 && number < BY_NUMBER.length;
    return known ? Optional.ofNullable(BY_NUMBER[number]) : Optional.empty();
  }
}
