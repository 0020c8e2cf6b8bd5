/**
 * The boot log of a TDX guest, read back into the guest's memory map.
 *
 * <p>{@link dev.septum.lab.bootlog.BootLog} is the way in: a file goes to cleaned lines ({@code
 * LogText}), lines to facts ({@code FactReader}), facts to RAM ranges ({@code RamInference}) and to
 * the bounce buffer ({@code SwiotlbInference}). Every step that goes beyond what the log says
 * leaves an {@link dev.septum.lab.bootlog.Assumption}; every contradiction is a {@link
 * dev.septum.lab.bootlog.BootLogException} that names the line.
 */
package dev.septum.lab.bootlog;
