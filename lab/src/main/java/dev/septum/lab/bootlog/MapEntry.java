package dev.septum.lab.bootlog;

/** One entry of a firmware map. */
public record MapEntry(MemRange range, boolean usable) {}
