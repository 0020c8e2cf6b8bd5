/** The same operations on two backends, and a comparison of everything that they lead to. */
package dev.septum.it.differential;
