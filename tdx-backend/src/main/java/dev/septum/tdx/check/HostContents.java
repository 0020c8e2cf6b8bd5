package dev.septum.tdx.check;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSet;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KvmMmu;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.vmm.Vmm;
import java.util.List;

/**
 * Everything that is on a host and has pages of it.
 *
 * @param tds its TDs
 * @param ordinary the MMUs of its other VMs
 * @param userPages pages of the VMMs' own memory
 * @param files every guest_memfd once, whoever maps it
 */
public record HostContents(
    ImmutableList<KvmTdx> tds,
    ImmutableList<KvmMmu> ordinary,
    long userPages,
    ImmutableSet<GuestMemfd> files) {

  /** VMMs with a TD each, and nothing else. */
  public static HostContents of(List<Vmm> vmms) {
    return new HostContents(
        vmms.stream().map(Vmm::kvm).collect(ImmutableList.toImmutableList()),
        ImmutableList.of(),
        vmms.stream().mapToLong(Vmm::sharedPages).sum(),
        vmms.stream().flatMap(vmm -> vmm.files().stream()).collect(ImmutableSet.toImmutableSet()));
  }
}
