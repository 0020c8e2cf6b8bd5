package dev.septum.tdx.module;

import dev.septum.kernel.LockMode;

/**
 * What one leaf asks of the prologue that the S-EPT leaves share.
 *
 * @param lowestLevel the smallest level in RCX
 * @param highestLevel the largest level in RCX; {@link #TOP} is the TD's own
 * @param tree how the S-EPT tree is locked
 * @param flags which bits of RDX are flags of the leaf
 */
record SeptRules(int lowestLevel, int highestLevel, LockMode tree, long flags) {

  /** The level of the root's entries. */
  static final int TOP = 4;

  boolean allowsLevel(int level, Td td) {
    return level >= lowestLevel && level <= Math.min(highestLevel, td.sept().topLevel());
  }
}
