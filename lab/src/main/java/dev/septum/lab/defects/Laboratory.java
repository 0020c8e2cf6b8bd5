package dev.septum.lab.defects;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.Placement;
import dev.septum.tdx.TdxDesign;
import java.util.ArrayList;
import java.util.List;

/** What a demonstration works with on one design: benches, and the protocol. */
public final class Laboratory {

  private static final long GIB = 1L << 30;

  private final TdxDesign design;
  private final Protocol protocol = new Protocol();
  private final List<Bench> benches = new ArrayList<>();

  private Laboratory(TdxDesign design) {
    this.design = design;
  }

  /** Runs a demonstration on a design, then every check. */
  static DesignRun run(Demonstration demonstration, TdxDesign design) {
    Laboratory lab = new Laboratory(design);
    demonstration.run(lab);
    lab.benches.forEach(Bench::finish);
    return new DesignRun(
        design.name(),
        lab.protocol.lines(),
        lab.benches.stream()
            .flatMap(bench -> bench.splat().stream())
            .collect(ImmutableList.toImmutableList()),
        lab.protocol.verdict());
  }

  Protocol protocol() {
    return protocol;
  }

  /** A host whose single pages share ranges: the range of a new S-EPT page has its pair. */
  Bench packed() {
    return bench(GIB, Placement.SEQUENTIAL);
  }

  /** A host with each single page in a range of its own: a new S-EPT page needs a pair. */
  Bench scattered() {
    return bench(2 * GIB, Placement.SCATTERED);
  }

  private Bench bench(long bytes, Placement placement) {
    if (!benches.isEmpty()) {
      protocol.step("from here on: another host with a new TD");
    }
    Bench bench = new Bench(design, bytes, placement, protocol);
    benches.add(bench);
    return bench;
  }
}
