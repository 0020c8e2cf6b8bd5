package dev.septum.it.differential;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.AnonymousMemory;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.VcpuMmu;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.RunExit;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.VcpuTdx;
import dev.septum.tdx.check.HostInvariants;
import dev.septum.tdx.check.TdExternalTable;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import java.util.List;
import java.util.stream.LongStream;

/** A TD of the sound design, on a host with Dynamic PAMT. */
final class TdSide extends Side {

  private final TdxHost host;
  private final Vmm vmm;
  private final ExternalTable external;

  TdSide(boolean nonBlockingResize) {
    host =
        new TdxHost(newHost(), TdxModuleConfig.defaults().withNonBlockingResize(nonBlockingResize));
    List<TdLayout.Region> regions =
        SLOTS.stream()
            .map(slot -> new TdLayout.Region(slot.start() << 12, slot.end() << 12))
            .toList();
    vmm =
        new Vmm(
            host,
            new TdLayout(
                ImmutableList.copyOf(regions),
                regions.get(FIRMWARE),
                VCPUS,
                KvmTdx.MAP_GPA_MAX_LEN,
                true,
                PageLevel.LEVEL_2M));
    external = new TdExternalTable(vmm.kvm());
    rememberSlots();
  }

  @Override
  String name() {
    return "tdx";
  }

  @Override
  KvmMmu mmu() {
    return vmm.kvm().mmu();
  }

  @Override
  List<VcpuMmu> vcpus() {
    return vmm.vcpus().stream().map(VcpuTdx::mmu).toList();
  }

  @Override
  List<GuestMemfd> files() {
    return vmm.files();
  }

  @Override
  AnonymousMemory userMemory() {
    return vmm.userMemory();
  }

  @Override
  ExternalTable external() {
    return external;
  }

  @Override
  boolean splitsUnderTheReadLock() {
    return host.supportsNonBlockingResize();
  }

  @Override
  String accept(int vcpu, GfnRange range, PageLevel largest) {
    AcceptMemory accept =
        new AcceptMemory(range.start() << 12, range.end() << 12, AcceptMemory.Order.ACCEPT_FIRST);
    if (largest == PageLevel.LEVEL_4K) {
      accept.pageByPage();
    }
    RunExit exit =
        vmm.run(
            vmm.vcpus().get(vcpu),
            GuestProgram.of(accept),
            any -> any instanceof RunExit.MemoryFault);
    if (exit instanceof RunExit.Halt) {
      return "accepted";
    }
    // A guest that goes on elsewhere without an instruction in between is taken to be
    // single-stepped.
    vmm.run(vmm.vcpus().get(vcpu), GuestProgram.of(), any -> false);
    return exit instanceof RunExit.MemoryFault fault
        ? "needs memory at 0x" + Long.toHexString(fault.gpa())
        : exit.toString();
  }

  @Override
  boolean hasAccepted(GfnRange range) {
    return LongStream.range(range.start(), range.end())
        .mapToObj(gfn -> host.module().view().leafAt(vmm.kvm().tdr() << 12, gfn << 12))
        .anyMatch(leaf -> leaf != null && leaf.state() == SeptState.MAPPED);
  }

  @Override
  List<String> violations() {
    return HostInvariants.violations(host, List.of(vmm));
  }

  @Override
  public void close() {
    vmm.close();
    NothingLeft.on(host.host());
  }
}
