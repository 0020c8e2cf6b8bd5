/**
 * The conformance kit: what {@code docs/spec.md} demands of a backend, as JUnit 5 classes with one
 * factory method. {@link dev.septum.kit.BackendKit} says how to use them.
 */
package dev.septum.kit;
