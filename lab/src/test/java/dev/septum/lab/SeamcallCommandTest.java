package dev.septum.lab;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.lab.boot.TdBoot;
import dev.septum.lab.conform.Replay;
import java.io.BufferedReader;
import java.io.PrintWriter;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SeamcallCommandTest {

  @TempDir Path dir;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  private int run(String stdin, String... args) {
    return run(new Stdin(new BufferedReader(new StringReader(stdin)), false), args);
  }

  private int run(Stdin stdin, String... args) {
    return Septum.run(
        Septum.commandLine(new TdBoot(), new Replay(), stdin)
            .setOut(new PrintWriter(out, true))
            .setErr(new PrintWriter(err, true)),
        args);
  }

  private String script(String text) throws Exception {
    return Files.writeString(dir.resolve("s.seam"), text).toString();
  }

  @Test
  void script_isRunOnAFreshModule() throws Exception {
    assertThat(run("", "seamcall", "--script", script("td td\nexpect pamt td TDR\ncheck\n")))
        .isZero();
    assertThat(out.toString())
        .isEqualTo(
            """
            > td td
              td = 0x200000
              td.vcpu = 0x207000
              RUNNABLE after 18 SEAMCALLs
            > expect pamt td TDR
              ok
            > check
              the module's invariants hold
            """);
    assertThat(err.toString()).isEmpty();
  }

  @Test
  void expectationThatDoesNotHold_exitsWith1AndTheRestIsRun() throws Exception {
    assertThat(run("", "seamcall", "--script", script("expect rax 1\nset x 2\n"))).isEqualTo(1);
    assertThat(out.toString())
        .isEqualTo(
            """
            > expect rax 1
              FAILED: rax is 0000000000000000, expected 0000000000000001
            > set x 2
              x = 0x2
            """);
  }

  @Test
  void scriptThatIsWrong_exitsWith2AndNothingIsRun() throws Exception {
    String script = script("set x 1\ntdh.mem.trak rcx=x\n");
    assertThat(run("", "seamcall", "--script", script)).isEqualTo(2);
    assertThat(out.toString()).isEmpty();
    assertThat(err.toString())
        .isEqualTo(
            "septum: %s:2: \"tdh.mem.trak\" is no command and no leaf; accepted: tdh.mem.track\n"
                .formatted(script));
  }

  @Test
  void linesFromAPipe_areAScript() {
    assertThat(run("set x 1\nexpect rax 0\n", "seamcall")).isZero();
    assertThat(out.toString()).isEqualTo("> set x 1\n  x = 0x1\n> expect rax 0\n  ok\n");

    assertThat(run("nonsense\n", "seamcall")).isEqualTo(2);
    assertThat(err.toString()).startsWith("septum: <stdin>:1: \"nonsense\" is no command");
  }

  @Test
  void linesOfAPerson_areAnsweredOneByOne() {
    BufferedReader typed = new BufferedReader(new StringReader("nonsense\nexpect rax 0\n"));
    assertThat(run(new Stdin(typed, true), "seamcall")).isZero();
    assertThat(out.toString()).contains("seamcall> ").contains("  ok\n");
    assertThat(err.toString()).startsWith("<stdin>:1: \"nonsense\" is no command");
  }

  @Test
  void memoryAndDynamicPamt_areThoseOfTheOptions() throws Exception {
    String script = script("page p\npamt p\npamt 1G\n");
    assertThat(run("", "seamcall", "--no-dpamt", "--memory=2G", "--script", script)).isZero();
    assertThat(out.toString())
        .contains("  PAMT range 0x200000: static PAMT\n", "  PAMT 0x40000000: NDA, level 0\n");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--memory=512M | --memory 536870912 is not in [1G, 1T]",
        "--memory=2T | --memory 2199023255552 is not in [1G, 1T]",
        "--memory=lots | 'lots' is not a size such as 512M or 20G",
        "--script=nowhere.seam | septum: nowhere.seam: no such file"
      })
  void wrongUsage_isOneErrorWithTheValue(String option, String message) {
    assertThat(run("", "seamcall", option)).isEqualTo(2);
    assertThat(err.toString()).startsWith("septum: ").contains(message);
    assertThat(out.toString()).isEmpty();
  }

  @Test
  void scriptThatIsNoText_isOneError() throws Exception {
    Path file = Files.write(dir.resolve("s.seam"), new byte[] {(byte) 0xC3, 0x28});
    assertThat(run("", "seamcall", "--script", file.toString())).isEqualTo(2);
    assertThat(err.toString()).isEqualTo("septum: " + file + ": not a text file\n");
  }
}
