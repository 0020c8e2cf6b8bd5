/** Flows disturbed at every place where something can go wrong, one at a time and in pairs. */
package dev.septum.lab.sweep;
