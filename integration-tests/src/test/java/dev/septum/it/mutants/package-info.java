/** Mutants of the main code, each of which the exploration must find. */
@org.jspecify.annotations.NullMarked
package dev.septum.it.mutants;
