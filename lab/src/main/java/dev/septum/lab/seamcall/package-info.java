/**
 * {@code septum seamcall}: a prompt, and a language for scripts, that issues SEAMCALLs on a fresh
 * module and shows what came of them.
 *
 * <p>{@link dev.septum.lab.seamcall.SeamcallPrompt} reads lines; each becomes an action on an
 * exploration.
 */
package dev.septum.lab.seamcall;
