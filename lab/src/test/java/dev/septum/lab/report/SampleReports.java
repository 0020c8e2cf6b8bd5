package dev.septum.lab.report;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import dev.septum.lab.BootOptions;
import dev.septum.lab.bootlog.GuestMemoryMap;
import dev.septum.lab.report.BootReport.AcceptSection;
import dev.septum.lab.report.BootReport.CacheSection;
import dev.septum.lab.report.BootReport.ConversionSection;
import dev.septum.lab.report.BootReport.FaultSection;
import dev.septum.lab.report.BootReport.GuestSection;
import dev.septum.lab.report.BootReport.HostSection;
import dev.septum.lab.report.BootReport.LockSection;
import dev.septum.lab.report.BootReport.MemorySection;
import dev.septum.lab.report.BootReport.OutcomeSection;
import dev.septum.lab.report.BootReport.PagesSection;
import dev.septum.lab.report.BootReport.PamtSection;
import dev.septum.lab.report.BootReport.RetrySection;
import dev.septum.lab.report.BootReport.SplitSection;
import dev.septum.lab.report.BootReport.StatsSection;

/** Reports with made-up counters. */
public final class SampleReports {

  /** What a boot without a fault ends with. */
  public static final OutcomeSection HELD =
      new OutcomeSection(ImmutableMap.of(), null, ImmutableList.of());

  private SampleReports() {}

  /** A report on a guest with the given outcome. */
  public static BootReport of(GuestMemoryMap map, BootOptions options, OutcomeSection outcome) {
    return new BootReport(
        BootReport.FORMAT,
        GuestSection.of(map, options),
        HostSection.of(options, options.hostMemoryBytes().orElse(6L << 30), true),
        MemorySection.of(map),
        new AcceptSection(ImmutableMap.of("2M", 2041L, "4K", 2787L)),
        new FaultSection(ImmutableMap.of("private, accept at 2M", 2041L)),
        ImmutableMap.of("TDH.MEM.PAGE.AUG", 4828L, "TDH.MEM.PAGE.DEMOTE", 14L),
        new SplitSection(ImmutableMap.of("accept below the leaf's level", 13L, "head", 1L)),
        new ConversionSection(1, 128, 127, 512),
        new CacheSection(14, 42, 42, 3),
        new PamtSection(512, 14, 3, 14, 15),
        new LockSection(ImmutableMap.of()),
        new RetrySection(0, 2),
        new PagesSection(
            20,
            ImmutableMap.of("guest_memory", 1_047_779L, "sept_page", 20L),
            ImmutableMap.of("free", 1_572_864L)),
        new StatsSection(
            ImmutableMap.of("pages_4k", 2787L, "pages_2m", 2041L),
            ImmutableList.of(ImmutableMap.of("exits", 4828L))),
        outcome);
  }
}
