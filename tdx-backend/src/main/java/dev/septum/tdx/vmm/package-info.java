/** User space: a VMM that builds a TD and answers its exits as QEMU does. */
package dev.septum.tdx.vmm;
