package dev.septum.mmu;

import dev.septum.kvm.PageLevel;

/**
 * A table of a mirror root, below the root: what a checker compares.
 *
 * @param level the level of the entry that points to it
 * @param externalSpt pfn of the page in the external page table
 */
public record MappedTable(long gfn, PageLevel level, long externalSpt) {}
