package dev.septum.lab.boot;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Host;
import dev.septum.kvm.Splat;
import dev.septum.lab.BootOptions;
import dev.septum.lab.backend.Machine;
import dev.septum.lab.bootlog.GuestMemoryMap;
import dev.septum.lab.bootlog.Size2M;
import dev.septum.lab.report.BootReport;
import dev.septum.lab.report.BootReport.GuestSection;
import dev.septum.lab.report.BootReport.HostSection;
import dev.septum.lab.report.BootReport.MemorySection;
import dev.septum.lab.report.BootReport.OutcomeSection;
import dev.septum.lab.report.BootReport.PagesSection;
import dev.septum.mmu.KernelGeneration;
import dev.septum.tdx.module.TdxModuleConfig;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** The host that a guest is booted on, and the report on both. */
final class BootHost {

  private static final long SIZE_1G = 1L << 30;

  private BootHost() {}

  static Machine machine(GuestMemoryMap map, BootOptions options, Kernel kernel) {
    long memory = options.hostMemoryBytes().orElse(hostMemoryFor(map, options));
    PageAllocator pages = new PageAllocator(kernel, memory, options.placement(), options.seed());
    return Machine.of(
        options.backend(),
        new Host(kernel, pages, options.trace()),
        KernelGeneration.LINUX_7_1,
        TdxModuleConfig.defaults().withDynamicPamt(options.dynamicPamt()));
  }

  /** The guest, its page tables and PAMT; where single pages are scattered, ranges to break up. */
  private static long hostMemoryFor(GuestMemoryMap map, BootOptions options) {
    long guest = map.ramBytes();
    long headRoom =
        options.placement() == Placement.SEQUENTIAL ? guest / 32 + SIZE_1G : guest + 16 * SIZE_1G;
    return Size2M.roundUp(guest + headRoom);
  }

  /** What a report says of a guest that was booted on the machine and is gone. */
  static BootReport report(
      GuestMemoryMap map,
      BootOptions options,
      Machine machine,
      LiveSections live,
      @Nullable Splat splat,
      List<String> violations) {
    PageAllocator pages = machine.host().pages();
    MemorySection memory =
        MemorySection.of(map).withAssumptions(GuestLayout.assumptions(map, options));
    return new BootReport(
        BootReport.FORMAT,
        GuestSection.of(map, options),
        HostSection.of(options, pages.totalPages() << 12, machine.tdx() != null),
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
            leaks(machine),
            splat == null ? null : splat.toString(),
            ImmutableList.copyOf(violations)));
  }

  /** Pages and slab objects that did not come back. */
  private static ImmutableMap<String, Long> leaks(Machine machine) {
    PageAllocator pages = machine.host().pages();
    Map<String, Long> leaks = new TreeMap<>(pages.objects());
    pages.taken().forEach((owner, count) -> leaks.put(machine.nameOf(owner), count));
    return ImmutableMap.copyOf(leaks);
  }
}
