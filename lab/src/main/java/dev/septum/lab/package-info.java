/**
 * The {@code septum} command: reads what a user has, drives the emulator, reports what the host
 * did.
 *
 * <p>{@link dev.septum.lab.Septum} is the command, {@link dev.septum.lab.GuestBoot} the seam to the
 * emulator.
 */
package dev.septum.lab;
