/**
 * The known defects of the huge page series as posted: a catalogue, and for each that the emulator
 * can meet a demonstration that runs on the posted and on the sound design.
 */
package dev.septum.lab.defects;
