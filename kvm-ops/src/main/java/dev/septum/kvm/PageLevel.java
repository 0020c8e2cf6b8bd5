package dev.septum.kvm;

import static com.google.common.base.Preconditions.checkArgument;
import static com.google.common.base.Preconditions.checkState;

/** The level of a mapping or a table entry ({@code enum pg_level}). */
public enum PageLevel {
  /** No level: "no limit" where an op returns one ({@code PG_LEVEL_NONE}). */
  NONE,
  /** A 4 KiB leaf ({@code PG_LEVEL_4K}). */
  LEVEL_4K,
  /** 2 MiB: a leaf or a table of 4K entries ({@code PG_LEVEL_2M}). */
  LEVEL_2M,
  /** 1 GiB: a leaf or a table of 2M entries ({@code PG_LEVEL_1G}). */
  LEVEL_1G,
  /** 512 GiB: never a leaf ({@code PG_LEVEL_512G}). */
  LEVEL_512G,
  /** 256 TiB: never a leaf ({@code PG_LEVEL_256T}). */
  LEVEL_256T;

  private static final PageLevel[] LEVELS = values();

  /** The level with KVM's number, 1 (4K) to 5. */
  public static PageLevel of(int number) {
    checkArgument(number >= 1 && number <= 5, "level %s is not in [1, 5]", number);
    return LEVELS[number];
  }

  /** KVM's number: 1 for 4K, 2 for 2M, 3 for 1G. */
  public int number() {
    return ordinal();
  }

  /** 4 KiB frames that one entry of this level covers ({@code KVM_PAGES_PER_HPAGE}). */
  public long pages() {
    return 1L << shift();
  }

  /** The gfn rounded down to this level. */
  public long alignDown(long gfn) {
    return gfn & -pages();
  }

  /** The gfn rounded up to this level. */
  public long alignUp(long gfn) {
    return alignDown(gfn + pages() - 1);
  }

  /** Whether the gfn is the first of an entry of this level. */
  public boolean isAligned(long gfn) {
    return (gfn & (pages() - 1)) == 0;
  }

  /** Where the gfn's entry is in a table of this level, 0 to 511. */
  public int indexOf(long gfn) {
    return (int) (gfn >>> shift()) & 511;
  }

  /** One level down. */
  public PageLevel below() {
    return of(ordinal() - 1);
  }

  /** One level up. */
  public PageLevel above() {
    return of(ordinal() + 1);
  }

  /** The smaller of two levels. */
  public static PageLevel min(PageLevel a, PageLevel b) {
    return a.compareTo(b) <= 0 ? a : b;
  }

  /** Whether this level is above {@code other}. */
  public boolean isAbove(PageLevel other) {
    return compareTo(other) > 0;
  }

  private int shift() {
    checkState(this != NONE, "level NONE has no size");
    return 9 * (ordinal() - 1);
  }
}
