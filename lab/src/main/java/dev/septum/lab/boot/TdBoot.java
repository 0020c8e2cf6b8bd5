package dev.septum.lab.boot;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Host;
import dev.septum.kvm.Splat;
import dev.septum.lab.BootOptions;
import dev.septum.lab.GuestBoot;
import dev.septum.lab.Progress;
import dev.septum.lab.bootlog.GuestMemoryMap;
import dev.septum.lab.bootlog.RamRange;
import dev.septum.lab.bootlog.Size2M;
import dev.septum.lab.report.BootReport;
import dev.septum.lab.report.BootReport.GuestSection;
import dev.septum.lab.report.BootReport.HostSection;
import dev.septum.lab.report.BootReport.MemorySection;
import dev.septum.lab.report.BootReport.OutcomeSection;
import dev.septum.lab.report.BootReport.PagesSection;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.VcpuTdx;
import dev.septum.tdx.check.HostInvariants;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.ConvertMemory;
import dev.septum.tdx.guest.GuestPanic;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** Boots a guest as a TD on an emulated host with a TDX backend. */
public final class TdBoot implements GuestBoot {

  private static final long SIZE_1G = 1L << 30;

  @Override
  public BootReport boot(GuestMemoryMap map, BootOptions options, Progress progress) {
    long memory = options.hostMemoryBytes().orElse(hostMemoryFor(map, options));
    Kernel kernel = Kernel.host();
    PageAllocator pages = new PageAllocator(kernel, memory, options.placement(), options.seed());
    TdxHost host =
        new TdxHost(
            new Host(kernel, pages, options.trace()),
            TdxModuleConfig.defaults().withDynamicPamt(options.dynamicPamt()),
            options.design());
    List<String> violations = new ArrayList<>();
    LiveSections live = LiveSections.none(host);
    @Nullable Splat splat = null;
    try (Vmm vmm = new Vmm(host, GuestLayout.of(map, options))) {
      live = run(vmm, map, options, progress, violations);
      splat = vmm.kvm().splat();
    } catch (Vmm.VmmException e) {
      violations.add("the TD could not be built: " + e.getMessage());
    }
    return report(map, options, host, live, splat, violations);
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

  private static BootReport report(
      GuestMemoryMap map,
      BootOptions options,
      TdxHost host,
      LiveSections live,
      @Nullable Splat splat,
      List<String> violations) {
    PageAllocator pages = host.host().pages();
    MemorySection memory =
        MemorySection.of(map).withAssumptions(GuestLayout.assumptions(map, options));
    return new BootReport(
        BootReport.FORMAT,
        GuestSection.of(map, options),
        HostSection.of(options, pages.totalPages() << 12),
        memory,
        live.accepts(),
        live.faults(),
        live.seamcalls(),
        live.splits(),
        live.conversions(),
        live.splitCache(),
        live.pamt(),
        live.mmuLock(),
        live.retries(),
        new PagesSection(live.secureEptPages(), live.pages(), LiveSections.pages(pages)),
        live.stats(),
        new OutcomeSection(
            leaks(pages),
            splat == null ? null : splat.toString(),
            ImmutableList.copyOf(violations)));
  }

  /** Pages and slab objects that did not come back. */
  private static ImmutableMap<String, Long> leaks(PageAllocator pages) {
    Map<String, Long> leaks = new TreeMap<>(pages.objects());
    pages.taken().forEach((owner, count) -> leaks.put(owner.tag(), count));
    return ImmutableMap.copyOf(leaks);
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

  /** The guest, its page tables and PAMT; where single pages are scattered, ranges to break up. */
  private static long hostMemoryFor(GuestMemoryMap map, BootOptions options) {
    long guest = map.ramBytes();
    long headRoom =
        options.placement() == Placement.SEQUENTIAL ? guest / 32 + SIZE_1G : guest + 16 * SIZE_1G;
    return Size2M.roundUp(guest + headRoom);
  }
}
