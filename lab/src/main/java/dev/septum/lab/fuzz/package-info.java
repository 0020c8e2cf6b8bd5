/** Random scenarios, and the shortest ones in which something was found. */
package dev.septum.lab.fuzz;
