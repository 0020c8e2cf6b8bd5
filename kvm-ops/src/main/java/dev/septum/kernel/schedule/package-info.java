/**
 * The scheduled runtime: a {@link dev.septum.kernel.Kernel} in which one emulated thread runs at a
 * time, and the exploration of its schedules.
 *
 * <p>An emulated thread stops at each scheduling point: before every lock it takes, every access to
 * a {@link dev.septum.kernel.SharedWord} or an entry of an {@link dev.septum.kernel.EntryTable},
 * every page allocation and free, every SEAMCALL, wait and yield. What it does from there to its
 * next point is one step, which nobody can see half done. {@link
 * dev.septum.kernel.schedule.Exploration} runs a {@link dev.septum.kernel.schedule.Program} again
 * and again, each time under another schedule; its limits are stated there.
 */
package dev.septum.kernel.schedule;
