/** Flows on the design as posted in version 3 of the series: what it does, defects included. */
@org.jspecify.annotations.NullMarked
package dev.septum.it.v3;
