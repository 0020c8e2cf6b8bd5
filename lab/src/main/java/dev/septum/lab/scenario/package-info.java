/** The scenario language: what a file can say, how it is read, and what is wrong with it. */
package dev.septum.lab.scenario;
