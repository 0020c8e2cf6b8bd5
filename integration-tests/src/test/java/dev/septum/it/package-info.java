/** Tests over every module: whole flows, and the rules of the house. */
package dev.septum.it;
