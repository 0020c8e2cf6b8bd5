/** Classes that break the rules of the house, so that the rules can be seen to fire. */
package dev.septum.mmu.bad;
