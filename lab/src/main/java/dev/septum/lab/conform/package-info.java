/**
 * Conformance with the real kernel: recordings of its TDP MMU, and the comparison of our MMU with
 * them.
 *
 * <p>{@link dev.septum.lab.conform.Recordings} finds recordings, {@link
 * dev.septum.lab.conform.Recording} is one of them, read and checked. A {@link
 * dev.septum.lab.conform.Replayer} does what was done there on our MMU and answers with an {@link
 * dev.septum.lab.conform.OpOutcome} for each operation. {@code Normaliser} turns what either side
 * answered into the same text; {@code Comparison} finds the first line that differs. What two vCPUs
 * do at once differs from run to run, so there {@code RaceCheck} asks instead whether the MMU's
 * rules allow it. {@link dev.septum.lab.conform.Conformance} does all this for one recording.
 */
package dev.septum.lab.conform;
