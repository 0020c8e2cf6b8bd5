/** Whole flows, from a guest's instruction to the SEAMCALL and back, and the rules of the house. */
@org.jspecify.annotations.NullMarked
package dev.septum.it;
