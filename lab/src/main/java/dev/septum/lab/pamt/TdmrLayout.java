package dev.septum.lab.pamt;

import com.google.common.collect.ImmutableList;
import dev.septum.lab.bootlog.MemRange;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.stream.LongStream;

/**
 * The TDMRs that a kernel makes of its memory, and their PAMT ({@code construct_tdmrs}).
 *
 * @param memory what they are made of
 */
record TdmrLayout(MemoryBlocks memory, ImmutableList<Tdmr> tdmrs) {

  /** TDMRs that the module takes ({@code MAX_TDMRS}). */
  static final int MAX_TDMRS = 64;

  /** Reserved areas that the module takes in one TDMR ({@code MAX_RESERVED_PER_TDMR}). */
  static final int MAX_RESERVED = 16;

  /** A refcount of Dynamic PAMT, one for each 2 MiB. */
  private static final long REFCOUNT_BYTES = 4;

  /** One TDMR for each block, widened to whole GiB; what is in an earlier one is cut off. */
  static TdmrLayout of(MemoryBlocks memory) {
    List<Tdmr> tdmrs = new ArrayList<>();
    long covered = 0;
    for (MemRange block : memory.blocks()) {
      long start = Math.max(block.start() / PamtSize.GIB * PamtSize.GIB, covered);
      long end = (block.end() + PamtSize.GIB - 1) / PamtSize.GIB * PamtSize.GIB;
      if (end > covered) {
        tdmrs.add(new Tdmr(start, end));
        covered = end;
      }
    }
    return new TdmrLayout(memory, ImmutableList.copyOf(tdmrs));
  }

  long bytes() {
    return tdmrs.stream().mapToLong(Tdmr::bytes).sum();
  }

  /** Static PAMT of all TDMRs, in KiB. */
  long staticKib() {
    return tdmrs.stream().mapToLong(t -> PamtSize.all(t.bytes())).sum();
  }

  /** The static part of Dynamic PAMT of all TDMRs, in KiB. */
  long dynamicStaticKib() {
    return tdmrs.stream().mapToLong(t -> PamtSize.dynamicStatic(t.bytes())).sum();
  }

  /** 2 MiB ranges of all TDMRs. */
  long ranges() {
    return bytes() / PamtSize.RANGE;
  }

  /** 2 MiB ranges that have memory in them. */
  long rangesWithMemory() {
    long ranges = 0;
    long next = 0;
    for (MemRange block : memory.blocks()) {
      long first = Math.max(block.start() / PamtSize.RANGE, next);
      next = Math.max(rangesBelow(block.end()), next);
      ranges += Math.max(next - first, 0);
    }
    return ranges;
  }

  /** One refcount for each 2 MiB from address 0 to the end of memory, in KiB (v6). */
  long refcountsKib() {
    return PamtSize.pagesKib(rangesBelow(endOfMemory()) * REFCOUNT_BYTES);
  }

  /** The pages of those refcounts that memory belongs to, in KiB (v4, v5). */
  long sparseRefcountsKib() {
    TreeSet<Long> pages = new TreeSet<>();
    for (MemRange block : memory.blocks()) {
      long first = (block.start() / PamtSize.RANGE * REFCOUNT_BYTES) >> 12;
      long last = (rangesBelow(block.end()) * REFCOUNT_BYTES - 1) >> 12;
      LongStream.rangeClosed(first, last).forEach(pages::add);
    }
    return pages.size() * 4L;
  }

  /** What is not memory in a TDMR and must be declared reserved, in order. */
  ImmutableList<Tdmr> holes(Tdmr tdmr) {
    ImmutableList.Builder<Tdmr> holes = ImmutableList.builder();
    long covered = tdmr.start();
    for (MemRange block : memory.blocks()) {
      if (block.start() >= tdmr.end()) {
        break;
      }
      if (block.start() > covered) {
        holes.add(new Tdmr(covered, block.start()));
      }
      covered = Math.max(covered, block.end());
    }
    if (covered < tdmr.end()) {
      holes.add(new Tdmr(covered, tdmr.end()));
    }
    return holes.build();
  }

  private long endOfMemory() {
    return memory.blocks().get(memory.blocks().size() - 1).end();
  }

  private static long rangesBelow(long address) {
    return (address + PamtSize.RANGE - 1) / PamtSize.RANGE;
  }
}
