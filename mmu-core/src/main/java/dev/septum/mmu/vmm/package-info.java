/** VMs of any backend, as a VMM builds and runs them, and what must hold of them. */
package dev.septum.mmu.vmm;
