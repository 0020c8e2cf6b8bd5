package dev.septum.mmu;

/** Which mappings of a gfn are meant ({@code enum kvm_gfn_range_filter}). */
enum GfnKind {
  /** The shared alias. */
  SHARED,
  /** The private alias. */
  PRIVATE
}
