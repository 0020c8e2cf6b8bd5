/** Backends as the command uses them: what they are loaded on, and what keeps others' in check. */
package dev.septum.lab.backend;
