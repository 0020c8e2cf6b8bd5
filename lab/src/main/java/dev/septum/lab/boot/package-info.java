/** Boots a guest on the emulator: the map becomes a TD, its programs, and a report. */
package dev.septum.lab.boot;
