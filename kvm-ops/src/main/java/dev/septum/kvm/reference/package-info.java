/** The simplest backends that keep the contract: one with an external page table, one without. */
package dev.septum.kvm.reference;
