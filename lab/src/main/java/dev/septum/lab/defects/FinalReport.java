package dev.septum.lab.defects;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.Splat;
import dev.septum.lab.report.FindingKind;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.check.HostInvariants;
import dev.septum.tdx.vmm.Vmm;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** What the checkers find after a demonstration, while the TD lives and after its destruction. */
final class FinalReport {

  /** The splat again, and free pages, which are what others do not have. */
  private static final Pattern REPEATS = Pattern.compile(" is bugged: |^free has ");

  private FinalReport() {}

  /**
   * One sentence for each kind of finding; destroys the TD.
   *
   * @param plantedBug the KVM_BUG_ON that a planted bug must run into, or null; not a finding then
   */
  static List<String> of(TdxHost host, Vmm vmm, @Nullable String plantedBug) {
    ImmutableList.Builder<String> report = ImmutableList.builder();
    Splat splat = vmm.kvm().splat();
    String bug = splat == null ? null : splat.expression();
    if (plantedBug != null && !plantedBug.equals(bug)) {
      report.add("no KVM_BUG_ON(%s)".formatted(plantedBug));
    } else if (splat != null && plantedBug == null) {
      report.add("VM %d is bugged: %s".formatted(splat.vmId(), splat.expression()));
    }
    report.addAll(
        oneOfEachKind(
            HostInvariants.violations(host, List.of(vmm)).stream()
                .filter(sentence -> !REPEATS.matcher(sentence).find())
                .sorted()
                .toList()));
    vmm.close();
    host.host()
        .pages()
        .taken()
        .forEach(
            (owner, pages) ->
                report.add(
                    "after the TD's end %s still has %d page(s)".formatted(owner.tag(), pages)));
    return report.build();
  }

  /** Sentences that differ in their numbers only are one kind: the first, and how many follow. */
  private static List<String> oneOfEachKind(List<String> sentences) {
    Map<String, String> first = new LinkedHashMap<>();
    Map<String, Integer> count = new LinkedHashMap<>();
    for (String sentence : sentences) {
      String kind = FindingKind.of(sentence);
      first.putIfAbsent(kind, sentence);
      count.merge(kind, 1, Integer::sum);
    }
    return first.entrySet().stream()
        .map(
            entry -> {
              int more = count.getOrDefault(entry.getKey(), 1) - 1;
              return more == 0
                  ? entry.getValue()
                  : "%s, and %d more like it".formatted(entry.getValue(), more);
            })
        .toList();
  }
}
