/**
 * Figures: how fast schedules are explored, beside other tools, and what the host runtime costs.
 */
package dev.septum.bench;
