/**
 * What the host did during a boot: the records of a report, and the report as text, JSON and ftrace
 * text.
 */
package dev.septum.lab.report;
