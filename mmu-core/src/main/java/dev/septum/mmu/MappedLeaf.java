package dev.septum.mmu;

import dev.septum.kvm.PageLevel;

/** A present leaf of a root: what a checker compares. */
public record MappedLeaf(long gfn, PageLevel level, long pfn, long spte) {}
