/**
 * The host kernel's primitives: locks, RCU, shared words, pages, threads.
 *
 * <p>Everything that synchronises goes through this package, and nothing outside it uses Java's own
 * locks, atomics or threads. {@link dev.septum.kernel.Kernel} is the one factory, so that a runtime
 * in which a scheduler decides who goes next can stand in for {@link
 * dev.septum.kernel.Kernel#host()} without a change in any caller.
 */
package dev.septum.kernel;
