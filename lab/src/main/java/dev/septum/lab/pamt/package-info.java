/**
 * {@code septum pamt}: the PAMT of a real host, computed from its boot log as the kernel computes
 * it and compared with what the kernel printed.
 */
package dev.septum.lab.pamt;
