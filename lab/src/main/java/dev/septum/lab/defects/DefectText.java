package dev.septum.lab.defects;

import com.google.errorprone.annotations.FormatMethod;
import java.util.List;

/** The catalogue and the runs for people. */
public final class DefectText {

  private final StringBuilder out = new StringBuilder();

  private DefectText() {}

  /** The catalogue as a table, a defect a line. */
  public static String table(List<Defect> defects) {
    DefectText text = new DefectText();
    text.line("%-7s %-9s %s", "id", "shown", "defect");
    for (Defect defect : defects) {
      text.line("%-7s %-9s %s", defect.id(), defect.isShown() ? "yes" : "no", defect.title());
    }
    text.line("%nsource, consequence and reasons: docs/defects.md, or --json");
    return text.out.toString();
  }

  /** The catalogue as docs/defects.md has it. */
  public static String markdown(List<Defect> defects) {
    DefectText text = new DefectText();
    text.line("# Known defects");
    text.line(
        "%nOf the TDX huge page series v3 on Dynamic PAMT v4, and of RFC v5, as posted. The backend"
            + " `tdx-v3` has%nthose of v3 and v4, the backend `tdx` has none that does harm. This file is written"
            + " by `septum defects --markdown`.");
    for (Defect defect : defects) {
      text.line("%n## %s. %s", defect.id(), defect.title());
      text.line("%n- Source: %s.", defect.source());
      text.line("- Consequence: %s", defect.consequence());
      text.line("- Shown by: %s", shownBy(defect));
    }
    return text.out.toString();
  }

  private static String shownBy(Defect defect) {
    Demonstration demonstration = defect.demonstration();
    if (demonstration == null) {
      return "nothing; " + defect.whyNotShown() + ".";
    }
    String command = "`septum defects run " + defect.id() + "`";
    return demonstration.isHarmless() ? command + ", alike on both and harmless" : command;
  }

  /** Runs, each on the posted design first. */
  static String runs(List<DefectRun> runs) {
    DefectText text = new DefectText();
    for (DefectRun run : runs) {
      text.line("%s  %s", run.id(), run.title());
      text.designRun(run.posted());
      text.designRun(run.sound());
      text.line("");
    }
    List<DefectRun> harmful = runs.stream().filter(run -> !run.harmless()).toList();
    List<DefectRun> harmless = runs.stream().filter(DefectRun::harmless).toList();
    if (!harmful.isEmpty()) {
      text.summary(harmful, "show on tdx-v3 and not on tdx");
    }
    if (!harmless.isEmpty()) {
      text.summary(harmless, "are the same on both, and harmless");
    }
    return text.out.toString();
  }

  private void summary(List<DefectRun> runs, String claim) {
    List<String> unexpected =
        runs.stream().filter(run -> !run.isAsExpected()).map(DefectRun::id).toList();
    line(
        "%d of %d defects %s%s",
        runs.size() - unexpected.size(),
        runs.size(),
        claim,
        unexpected.isEmpty() ? "" : "; not so: " + String.join(", ", unexpected));
  }

  private void designRun(DesignRun run) {
    line("%n  %s: %s", run.design(), run.verdict());
    run.lines().forEach(entry -> line("    %-9s %s", entry.kind(), entry.text()));
    run.splats().forEach(splat -> splat.lines().forEach(row -> line("    %-9s %s", "", row)));
  }

  @FormatMethod
  private void line(String format, Object... arguments) {
    out.append(format.formatted(arguments)).append('\n');
  }
}
