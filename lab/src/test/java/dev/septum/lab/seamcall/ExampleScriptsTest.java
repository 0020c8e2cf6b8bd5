package dev.septum.lab.seamcall;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.tdx.module.TdxModuleConfig;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The scripts in lab/seamcall say what is written beside them, to the letter. */
class ExampleScriptsTest {

  private static final Path SCRIPTS = Path.of(System.getProperty("basedir", "."), "seamcall");

  static List<Path> scripts() throws IOException {
    try (Stream<Path> files = Files.list(SCRIPTS)) {
      return files.filter(file -> file.toString().endsWith(".seam")).sorted().toList();
    }
  }

  @ParameterizedTest
  @MethodSource("scripts")
  void script_saysWhatIsWrittenBesideIt(Path script) throws Exception {
    StringWriter out = new StringWriter();
    SeamcallPrompt prompt =
        new SeamcallPrompt(TdxModuleConfig.defaults(), 4L << 30, new PrintWriter(out));

    prompt.runScript(script.toString(), Files.readAllLines(script));

    Path expected = Path.of(script.toString().replaceFirst("seam$", "out"));
    assertThat(out.toString()).isEqualTo(Files.readString(expected));
    assertThat(prompt.failures()).isZero();
  }

  @Test
  void allScripts_areFound() throws Exception {
    assertThat(scripts())
        .extracting(script -> script.getFileName().toString())
        .containsExactly("demote.seam", "pamt-remove-busy.seam", "pamt.seam");
  }

  /** What a bug report needs: one comment and ten lines. */
  @Test
  void bugReport_isTenLines() throws Exception {
    assertThat(Files.readAllLines(SCRIPTS.resolve("pamt-remove-busy.seam"))).hasSize(11);
  }
}
