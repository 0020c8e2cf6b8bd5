/**
 * Scenarios on the emulator: hosts and VMs are set up, steps are done, expectations are checked.
 */
package dev.septum.lab.run;
