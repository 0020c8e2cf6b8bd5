package dev.septum.lab.pamt;

import com.google.common.collect.ImmutableList;
import dev.septum.lab.bootlog.BootLogException;
import dev.septum.lab.bootlog.MemRange;
import dev.septum.lab.pamt.HostFacts.Printed;
import dev.septum.lab.pamt.PamtReport.DynamicSection;
import dev.septum.lab.pamt.PamtReport.KernelSection;
import dev.septum.lab.pamt.PamtReport.RangeRow;
import dev.septum.lab.pamt.PamtReport.ReservedRow;
import dev.septum.lab.pamt.PamtReport.StaticSection;
import dev.septum.lab.pamt.PamtReport.TdmrRow;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Computes the PAMT of a host from its log, and compares it with what the kernel printed. */
public final class PamtAccount {

  /** A page pair of Dynamic PAMT. */
  private static final long PAIR_KIB = 8;

  private final HostLog log;
  private final HostFacts facts;
  private final TdmrLayout layout;
  private final @Nullable TdmrLayout ofCmrs;
  private final List<String> notes;

  private PamtAccount(HostLog log, TdmrLayout layout, @Nullable TdmrLayout ofCmrs) {
    this.log = log;
    this.facts = log.facts();
    this.layout = layout;
    this.ofCmrs = ofCmrs;
    this.notes = new ArrayList<>(log.notes());
  }

  /**
   * The report on a log.
   *
   * @throws BootLogException if it is not the log of a TDX host or cannot be read
   */
  public static PamtReport of(Path file) throws BootLogException {
    HostLog log = HostLog.read(file);
    Optional<TdmrLayout> ofMap = MemoryBlocks.ofMap(log.facts()).map(TdmrLayout::of);
    Optional<TdmrLayout> ofCmrs = MemoryBlocks.ofCmrs(log.facts()).map(TdmrLayout::of);
    List<TdmrLayout> layouts =
        Stream.of(ofMap, ofCmrs)
            .flatMap(Optional::stream)
            .filter(l -> !l.tdmrs().isEmpty())
            .toList();
    if (layouts.isEmpty()) {
      throw new BootLogException(file + ": the log shows no memory above 1 MiB");
    }
    // The kernel goes by its own map. But a map that is cut misleads, and then the CMRs are better.
    TdmrLayout layout =
        layouts.stream()
            .filter(l -> LogComparison.isPrinted(log.facts(), l))
            .findFirst()
            .orElse(layouts.get(0));
    return new PamtAccount(log, layout, ofCmrs.orElse(null)).report(layouts.get(0));
  }

  private PamtReport report(TdmrLayout best) throws BootLogException {
    LogComparison comparison = LogComparison.of(facts, layout, !layout.equals(ofCmrs));
    notes.addAll(comparison.notes());
    if (!layout.equals(best)) {
      notes.add(
          "TDMRs of %s would have %d KB of PAMT: some of them are not in the log"
              .formatted(best.memory().source(), best.staticKib()));
    }
    if (facts.cmrs.isEmpty()) {
      notes.add("the log has no CMRs: all memory of %s counts".formatted(layout.memory().source()));
    }
    if (facts.seamcallError != null) {
      notes.add(facts.seamcallError);
    }
    return new PamtReport(
        PamtReport.FORMAT,
        log.file(),
        new KernelSection(facts.module, facts.keyIds, initialization()),
        cmrRows(),
        layout.memory().source(),
        layout.tdmrs().stream().map(PamtAccount::row).collect(ImmutableList.toImmutableList()),
        staticSection(),
        dynamicSection(),
        TdmrLayout.MAX_RESERVED,
        layout.tdmrs().stream().map(this::reservedRow).collect(ImmutableList.toImmutableList()),
        ImmutableList.copyOf(notes),
        comparison.outcome());
  }

  private @Nullable String initialization() {
    int done = facts.initialized == null ? 0 : facts.initialized.number();
    Printed failed = facts.failed;
    if (failed != null && failed.line().number() > done) {
      return "failed with errno %d (line %d)".formatted(failed.value(), failed.line().number());
    }
    return done == 0 ? null : "done (line %d)".formatted(done);
  }

  private ImmutableList<RangeRow> cmrRows() throws BootLogException {
    return MemRange.inOrder(facts.cmrs).stream()
        .map(
            cmr ->
                new RangeRow(
                    hex(cmr.start()),
                    hex(cmr.end()),
                    (cmr.end() - cmr.start()) >> 10,
                    cmr.line().number()))
        .collect(ImmutableList.toImmutableList());
  }

  private static TdmrRow row(Tdmr tdmr) {
    long bytes = tdmr.bytes();
    return new TdmrRow(
        hex(tdmr.start()),
        hex(tdmr.end()),
        bytes / PamtSize.GIB,
        PamtSize.entries(bytes, 0),
        PamtSize.entries(bytes, 1),
        PamtSize.entries(bytes, 2),
        PamtSize.all(bytes),
        PamtSize.dynamicStatic(bytes));
  }

  private StaticSection staticSection() {
    Printed printed = facts.pamtKib;
    return new StaticSection(
        layout.bytes() / PamtSize.GIB,
        entries(0),
        entries(1),
        entries(2),
        layout.staticKib(),
        printed == null ? null : printed.value(),
        printed == null ? 0 : printed.line().number());
  }

  private DynamicSection dynamicSection() {
    Printed printed = facts.pamtKib;
    long pairsKib = layout.ranges() * PAIR_KIB;
    return new DynamicSection(
        printed != null && printed.value() == layout.dynamicStaticKib(),
        layout.dynamicStaticKib() - entries(1) - entries(2),
        entries(1),
        entries(2),
        layout.dynamicStaticKib(),
        layout.refcountsKib(),
        layout.sparseRefcountsKib(),
        layout.ranges(),
        pairsKib,
        layout.dynamicStaticKib() + pairsKib,
        layout.rangesWithMemory(),
        (layout.staticKib() - layout.dynamicStaticKib()) / PAIR_KIB);
  }

  private ReservedRow reservedRow(Tdmr tdmr) {
    ImmutableList<Tdmr> holes = layout.holes(tdmr);
    boolean exceeds = holes.size() > TdmrLayout.MAX_RESERVED;
    return new ReservedRow(
        tdmr.toString(),
        holes.size(),
        ofCmrs == null ? holes.size() : ofCmrs.holes(tdmr).size(),
        layout.tdmrs().size(),
        exceeds ? holes.get(TdmrLayout.MAX_RESERVED).toString() : null);
  }

  private long entries(int level) {
    return layout.tdmrs().stream().mapToLong(t -> PamtSize.entries(t.bytes(), level)).sum();
  }

  private static String hex(long address) {
    return "0x" + Long.toHexString(address);
  }
}
