/**
 * KVM's TDX side: what {@code vmx/tdx.c} does between the TDP MMU and the TDX module.
 *
 * <p>It talks to the module by {@link dev.septum.tdx.Seamcalls} only.
 */
package dev.septum.tdx;
