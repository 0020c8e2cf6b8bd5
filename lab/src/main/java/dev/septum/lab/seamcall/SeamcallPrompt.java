package dev.septum.lab.seamcall;

import dev.septum.tdx.module.TdxModuleConfig;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Reads lines, from a script or from a person, and does what they say on one fresh module. */
public final class SeamcallPrompt {

  private static final String PROMPT = "seamcall> ";

  private record Step(ScriptLine line, Action action) {}

  private final Scope scope = new Scope();
  private final Exploration exploration;
  private final PrintWriter out;

  /** A prompt on a module of its own. */
  public SeamcallPrompt(TdxModuleConfig config, long memoryBytes, PrintWriter out) {
    this.exploration = new Exploration(new Machine(config, memoryBytes), out);
    this.out = out;
  }

  /** How many expectations did not hold. */
  public int failures() {
    return exploration.failures();
  }

  /** Reads a whole script and then runs it; a line that cannot be read leaves nothing run. */
  public void runScript(String file, List<String> lines) throws ScriptException {
    List<Step> steps = new ArrayList<>();
    for (int i = 0; i < lines.size(); i++) {
      ScriptLine line = ScriptLine.of(file, i + 1, lines.get(i));
      if (isQuit(line)) {
        break;
      }
      if (!line.isBlank()) {
        steps.add(new Step(line, Verbs.parse(line, scope)));
      }
    }
    for (Step step : steps) {
      out.println("> " + step.line.text());
      exploration.run(step.action);
    }
    out.flush();
  }

  /** Talks to a person until quit or the end of input; a wrong line is told and forgotten. */
  public void talk(BufferedReader in, PrintWriter err) throws IOException {
    out.println("A fresh TDX module. 'help' tells the commands, 'quit' ends.");
    int number = 0;
    for (String raw = ask(in); raw != null; raw = ask(in)) {
      number++;
      ScriptLine line = ScriptLine.of("<stdin>", number, raw);
      if (isQuit(line)) {
        return;
      }
      if (!line.isBlank()) {
        answer(line, err);
      }
    }
  }

  private void answer(ScriptLine line, PrintWriter err) {
    try {
      exploration.run(Verbs.parse(line, scope));
    } catch (ScriptException e) {
      out.flush();
      err.println(e.getMessage());
    }
  }

  private @Nullable String ask(BufferedReader in) throws IOException {
    out.print(PROMPT);
    out.flush();
    return in.readLine();
  }

  private static boolean isQuit(ScriptLine line) {
    return line.text().equals("quit");
  }
}
