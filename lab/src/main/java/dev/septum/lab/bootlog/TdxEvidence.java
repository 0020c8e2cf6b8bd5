package dev.septum.lab.bootlog;

/**
 * Why a log is taken for that of a TDX guest.
 *
 * @param text the line that shows it, or the option that said so
 * @param line the line's number, 0 for none
 * @param certain whether only a TDX guest prints this
 */
public record TdxEvidence(String text, int line, boolean certain) {}
