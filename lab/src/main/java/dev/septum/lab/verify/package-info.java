/** What the conformance kit says of a backend. */
package dev.septum.lab.verify;
