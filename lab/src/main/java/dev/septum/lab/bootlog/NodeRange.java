package dev.septum.lab.bootlog;

/** A range of a NUMA node. */
public record NodeRange(int node, MemRange range) {}
