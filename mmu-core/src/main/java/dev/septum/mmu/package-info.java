/**
 * KVM's TDP MMU.
 *
 * <p>{@link dev.septum.mmu.KvmMmu} is one VM's MMU. It never sees a backend: what differs between
 * backends goes through {@link dev.septum.kvm.KvmX86Ops}.
 *
 * <p>Locks: an SPTE is written under mmu_lock, either held for write, or held for read by a
 * compare-and-exchange from the value that was judged. An entry that reads {@link
 * dev.septum.mmu.SpteFormat#FROZEN} belongs to the thread that froze it. Tables are freed after an
 * RCU grace period, so a walker inside a read section may go on in a table that was just unlinked.
 */
package dev.septum.mmu;
