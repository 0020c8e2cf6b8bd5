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
            + " `tdx-v3` has%nthose of v3 and v4, the backend `tdx` has none. This file is written"
            + " by `septum defects --markdown`.");
    for (Defect defect : defects) {
      text.line("%n## %s. %s", defect.id(), defect.title());
      text.line("%n- Source: %s.", defect.source());
      text.line("- Consequence: %s", defect.consequence());
      text.line(
          "- Shown by: %s",
          defect.isShown()
              ? "`septum defects run " + defect.id() + "`"
              : "nothing; " + defect.whyNotShown() + ".");
    }
    return text.out.toString();
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
    List<String> unexpected =
        runs.stream().filter(run -> !run.isAsExpected()).map(DefectRun::id).toList();
    text.line(
        "%d of %d defects show on tdx-v3 and not on tdx%s",
        runs.size() - unexpected.size(),
        runs.size(),
        unexpected.isEmpty() ? "" : "; not so: " + String.join(", ", unexpected));
    return text.out.toString();
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
