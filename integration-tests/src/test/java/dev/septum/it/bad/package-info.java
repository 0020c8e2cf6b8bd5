/** Breaks the rules of the house, so that a test can hear the alarms. */
package dev.septum.it.bad;
