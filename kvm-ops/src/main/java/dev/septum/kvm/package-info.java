/**
 * The contract between KVM and a backend: the VM, its vCPUs, the ops table, and the vocabulary both
 * sides speak.
 */
package dev.septum.kvm;
