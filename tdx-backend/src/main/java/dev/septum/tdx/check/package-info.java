/** Looks into every book at once: KVM's, the module's, the host's. For tests and reports only. */
package dev.septum.tdx.check;
