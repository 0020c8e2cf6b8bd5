/** Scenarios under every schedule: exploration, schedule files, replays. */
package dev.septum.lab.explore;
