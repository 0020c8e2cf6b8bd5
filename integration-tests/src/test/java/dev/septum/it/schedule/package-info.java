/** Whole VMs under the scheduled kernel: races explored to their end instead of suspected. */
@org.jspecify.annotations.NullMarked
package dev.septum.it.schedule;
