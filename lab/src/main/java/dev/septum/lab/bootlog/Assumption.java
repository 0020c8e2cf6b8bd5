package dev.septum.lab.bootlog;

/** One sentence on what was taken for granted because the log does not say it. */
public record Assumption(String text) {}
