/**
 * The TDX module as a software SEAMCALL target: registers in, status word and registers out.
 *
 * <p>{@link dev.septum.tdx.module.TdxModule#seamcall} is the only door for the host. The behaviour
 * is that of TDX module 1.5.25, with the later changes that {@link
 * dev.septum.tdx.module.TdxModuleConfig} names. No page contents are modelled, no TLB contents, no
 * nested VMs and no migration.
 *
 * <p>Locks are the module's own try-locks. Nothing here spins or waits: a lock that is taken is a
 * BUSY status. A seamcall takes them in this order and gives them back in the reverse one: TDR
 * page, OP_STATE, S-EPT tree, S-EPT entry, PAMT entries.
 */
@org.jspecify.annotations.NullMarked
package dev.septum.tdx.module;
