package dev.septum.lab.boot;

import dev.septum.kernel.Kernel;
import dev.septum.kvm.Splat;
import dev.septum.lab.BootOptions;
import dev.septum.lab.GuestBoot;
import dev.septum.lab.Progress;
import dev.septum.lab.backend.Machine;
import dev.septum.lab.bootlog.GuestMemoryMap;
import dev.septum.lab.bootlog.RamRange;
import dev.septum.lab.report.BootReport;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.VcpuTdx;
import dev.septum.tdx.check.HostInvariants;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.ConvertMemory;
import dev.septum.tdx.guest.GuestPanic;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Boots a guest as a TD on an emulated host with a TDX backend. */
public final class TdBoot implements GuestBoot {

  @Override
  public BootReport boot(GuestMemoryMap map, BootOptions options, Progress progress) {
    Machine machine = BootHost.machine(map, options, Kernel.host());
    TdxHost host = machine.tdx();
    if (host == null) {
      throw new IllegalArgumentException(
          "VMs of backend %s are no TDs".formatted(options.backend().name()));
    }
    List<String> violations = new ArrayList<>();
    LiveSections live = LiveSections.none(host);
    @Nullable Splat splat = null;
    try (Vmm vmm = new Vmm(host, GuestLayout.of(map, options))) {
      live = run(vmm, map, options, progress, violations);
      splat = vmm.kvm().splat();
    } catch (Vmm.VmmException e) {
      violations.add("the TD could not be built: " + e.getMessage());
    }
    return BootHost.report(map, options, machine, live, splat, violations);
  }

  /** Runs the TD; what goes wrong is noted, and the TD can be destroyed all the same. */
  private static LiveSections run(
      Vmm vmm,
      GuestMemoryMap map,
      BootOptions options,
      Progress progress,
      List<String> violations) {
    List<AcceptMemory> accepts = acceptTasks(map, options);
    try {
      bootOn(vmm, map, accepts, progress);
    } catch (Vmm.VmmException | GuestPanic e) {
      violations.add("the boot ended early: " + e.getMessage());
    }
    violations.addAll(HostInvariants.violations(vmm.kvm().tdxHost(), List.of(vmm)));
    return LiveSections.of(vmm.kvm(), accepts);
  }

  private static List<AcceptMemory> acceptTasks(GuestMemoryMap map, BootOptions options) {
    AcceptMemory.Order order =
        options.touchFirst() ? AcceptMemory.Order.TOUCH_FIRST : AcceptMemory.Order.ACCEPT_FIRST;
    List<AcceptMemory> accepts = new ArrayList<>();
    for (RamRange range : map.ram()) {
      accepts.add(new AcceptMemory(range.startGpa(), range.endGpa(), order));
    }
    return accepts;
  }

  private static void bootOn(
      Vmm vmm, GuestMemoryMap map, List<AcceptMemory> accepts, Progress progress) {
    List<VcpuTdx> vcpus = vmm.vcpus();
    progress.phase("accepting memory (MiB)", map.ramBytes() >> 20);
    GuestProgram accept =
        new GuestProgram(
            accepts.stream()
                .map(
                    task ->
                        new WatchedTask(
                            task,
                            progress,
                            () -> accepts.stream().mapToLong(AcceptMemory::bytes).sum() >> 20))
                .toList());
    vmm.runToHalt(vcpus.get(0), accept);
    for (VcpuTdx vcpu : vcpus.subList(1, vcpus.size())) {
      vmm.runToHalt(vcpu, GuestProgram.of());
    }
    map.swiotlb()
        .ifPresent(
            buffer -> {
              progress.phase("converting swiotlb (MiB)", buffer.bytes() >> 20);
              vmm.runToHalt(
                  vcpus.get(0),
                  GuestProgram.of(ConvertMemory.toShared(buffer.startGpa(), buffer.endGpa())));
            });
  }
}
