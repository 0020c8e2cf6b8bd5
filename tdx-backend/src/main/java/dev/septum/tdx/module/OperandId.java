package dev.septum.tdx.module;

/** Operand numbers: what the low half of a status word points at. */
public final class OperandId {

  public static final int RAX = 0;
  public static final int RCX = 1;
  public static final int RDX = 2;
  public static final int RBX = 3;
  public static final int RBP = 5;
  public static final int RSI = 6;
  public static final int RDI = 7;
  public static final int R8 = 8;
  public static final int R9 = 9;
  public static final int R10 = 10;
  public static final int R11 = 11;
  public static final int R12 = 12;
  public static final int R13 = 13;
  public static final int R14 = 14;
  public static final int R15 = 15;
  public static final int PAGE = 95;
  public static final int TDMR_INFO_PA = 96;
  public static final int GPA_LIST_ENTRY = 97;
  public static final int NEW_PAGE_LIST_ENTRY = 99;
  public static final int TDR = 128;
  public static final int TDCX = 129;
  public static final int TDVPR = 130;
  public static final int REG_PAGE = 132;
  public static final int TDCS = 144;
  public static final int TDVPS = 145;
  public static final int SEPT_TREE = 146;
  public static final int SEPT_ENTRY = 147;
  public static final int TD_EPOCH = 169;
  public static final int MIGSC = 171;
  public static final int OP_STATE = 172;
  public static final int METADATA_FIELD = 176;
  public static final int SYS = 184;
  public static final int TDMR = 185;
  public static final int KOT = 186;
  public static final int KET = 187;
  public static final int WBCACHE = 188;

  private static final NumberNames NAMES = NumberNames.ofConstants(OperandId.class, int.class);

  private OperandId() {}

  /** The operand's name, or its number when it has none. */
  public static String name(int id) {
    return NAMES.of(id);
  }
}
