package dev.septum.lab.seamcall;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxModuleConfig;
import java.io.BufferedReader;
import java.io.PrintWriter;
import java.io.StringReader;
import java.io.StringWriter;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The language, line by line. */
class SeamcallPromptTest {

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();
  private final SeamcallPrompt prompt = promptOn(TdxModuleConfig.defaults());

  private SeamcallPrompt promptOn(TdxModuleConfig config) {
    return new SeamcallPrompt(config, 1L << 30, new PrintWriter(out, true));
  }

  /** What the last of these lines says. */
  private String say(String... lines) throws ScriptException {
    prompt.runScript("s.seam", List.of(lines));
    String echo = "> " + lines[lines.length - 1] + "\n";
    return out.toString().substring(out.toString().lastIndexOf(echo) + echo.length());
  }

  private void assertRefused(String message, String... lines) {
    assertThatThrownBy(() -> prompt.runScript("s.seam", List.of(lines)))
        .isInstanceOf(ScriptException.class)
        .hasMessageStartingWith("s.seam:" + lines.length + ": ")
        .hasMessageContaining(message);
    assertThat(out.toString()).isEmpty();
  }

  // Values.

  @ParameterizedTest
  @CsvSource({
    "4096, 0x1000",
    "0xABC, 0xabc",
    "2M, 0x200000",
    "1G+4K, 0x40001000",
    "0x40000000|1, 0x40000001",
    "gpa|1, 0x40000001",
    "gpa-4K+1, 0x3ffff001",
    "rax, 0x0",
    "-1, 0xffffffffffffffff",
    "0xFFFFFFFFFFFFFFFF, 0xffffffffffffffff"
  })
  void expression_isEvaluatedFromLeftToRight(String expression, String value) throws Exception {
    assertThat(say("set gpa 1G", "set x " + expression)).isEqualTo("  x = " + value + "\n");
  }

  @Test
  void register_isThatOfTheLastCall() throws Exception {
    assertThat(say("tdh.mem.track rcx=0x5000", "set x rcx")).isEqualTo("  x = 0x5000\n");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "set x 12q | \"12q\" names \"12q\", which is not set; accepted: registers",
        "set x y | \"y\" names \"y\", which is not set; accepted: registers",
        "set x 1++2 | \"1++2\" is no value; accepted: a number (0x1000, 512, 2M), a variable",
        "set x x | \"x\" names \"x\", which is not set; accepted: registers",
        "set x 1+ | \"1+\" is no value",
        "set x 99999999999T | \"99999999999T\" names",
        "set 5 1 | \"5\" cannot be a variable; accepted: a name of letters",
        "set rax 1 | \"rax\" cannot be a variable",
        "set x | \"x\" is the last word of the line; accepted: a number",
        "set x 1 2 | \"2\" is one word too many; accepted: the end of the line",
        "map 0 3M | \"3M\" is no page size; accepted: 4K, 2M, 1G, 512G",
        "go | \"go\" is no command and no leaf; accepted: set, page, td, tables, map, accept, read,",
        "tdh.mem.page.augg | is no command and no leaf; accepted: tdh.mem.page.aug",
        "tdh.mem.track rcx | \"rcx\" is no operand; accepted: REGISTER=VALUE, version=N",
        "tdh.mem.track r16=1 | \"r16\" is no register; accepted: rax to r15",
        "expect this 1 | \"this\" is no register; accepted: rax to r15",
        "expect status TDX_FINE | \"TDX_FINE\" is no status; accepted: a status such as TDX_SUCCESS",
        "expect status TDX_OPERAND_BUSY@nobody | \"nobody\" is no operand; accepted: rcx, r8,",
        "expect sept 0 4K GONE | \"GONE\" is no S-EPT state; accepted: FREE, REMOVED, NL_MAPPED,",
        "expect pamt 0 XXX | \"XXX\" is no page type; accepted: NDA, RSVD, REG, TDR,",
        "fail tdh.mem.tracks TDX_SUCCESS | \"tdh.mem.tracks\" is no leaf; accepted: tdh.mem.track",
      },
      ignoreLeadingAndTrailingWhitespace = true)
  void wrongLine_namesTheWordAndWhatIsAccepted(String line, String message) {
    assertRefused(message, line.replace('@', '|'));
  }

  @Test
  void wrongLastLine_leavesEveryLineUnrun() {
    assertRefused("\"gap\" names \"gap\"; which".replace(';', ','), "set gpa 1G", "walk gap");
  }

  @Test
  void unsetName_isAnsweredWithTheNamesThatAreSet() {
    assertRefused("accepted: gpa, td, td.vcpu and registers", "td td", "set gpa 1", "walk x");
  }

  @Test
  void commentsAndBlankLines_areSkipped() throws Exception {
    prompt.runScript("s.seam", List.of("# a comment", "", "   ", "set x 1 # one"));
    assertThat(out.toString()).isEqualTo("> set x 1\n  x = 0x1\n");
  }

  @Test
  void quit_endsAScriptWhateverFollows() throws Exception {
    prompt.runScript("s.seam", List.of("set x 1", "quit", "no such line"));
    assertThat(out.toString()).isEqualTo("> set x 1\n  x = 0x1\n");
  }

  // SEAMCALLs.

  @ParameterizedTest
  @ValueSource(strings = {"tdh.mem.track", "TDH_MEM_TRACK", "mem.track", "Mem_Track", "38", "0x26"})
  void leaf_isNamedInManyWays(String leaf) throws Exception {
    assertThat(say("td td", leaf + " rcx=td"))
        .isEqualTo("  rax 0000000000000000  TDX_SUCCESS\n  TD 0x200000 TD_EPOCH: 1 -> 2\n");
  }

  @Test
  void everyLeafOfTheModule_canBeCalledByName() throws Exception {
    for (SeamcallLeaf leaf : SeamcallLeaf.values()) {
      assertThat(say(leaf.kernelName())).contains("  rax ");
    }
  }

  @ParameterizedTest
  @CsvSource({"999, c000010000000000", "0x10026, c000010000000000"})
  void raxThatTheModuleDoesNotKnow_isTheModulesToRefuse(String leaf, String rax) throws Exception {
    assertThat(say(leaf))
        .isEqualTo(
            "  rax " + rax + "  TDX_OPERAND_INVALID, operand RAX (0); class 1: operand; error\n");
  }

  @Test
  void version_isBits16To23OfRax() throws Exception {
    assertThat(say("td td building", "tdh.vp.init version=1 rcx=td.vcpu"))
        .startsWith("  rax c000070000000002  TDX_VCPU_STATE_INCORRECT, vCPU state 2; class 7");
    assertThat(say("tdh.vp.init version=2 rcx=td.vcpu"))
        .startsWith("  rax c000010000000000  TDX_OPERAND_INVALID, operand RAX (0)");
  }

  @Test
  void regs_showsAllOfThemWith16Digits() throws Exception {
    assertThat(say("tdh.mem.track rcx=1 r15=0xFFFFFFFFFFFFFFFF", "regs"))
        .isEqualTo(
            """
              rax c000010000000001
              rbx 0000000000000000
              rcx 0000000000000001
              rdx 0000000000000000
              rbp 0000000000000000
              rsi 0000000000000000
              rdi 0000000000000000
              r8  0000000000000000
              r9  0000000000000000
              r10 0000000000000000
              r11 0000000000000000
              r12 0000000000000000
              r13 0000000000000000
              r14 0000000000000000
              r15 ffffffffffffffff
            """);
  }

  @Test
  void failedCall_hasThatStatusOnceAndChangesNothing() throws Exception {
    assertThat(say("td td", "fail mem.track operand_busy|td_epoch", "mem.track rcx=td"))
        .isEqualTo(
            "  rax 80000200000000a9  TDX_OPERAND_BUSY, operand TD_EPOCH (169); class 2: busy; error, may go away\n");
    assertThat(say("mem.track rcx=td")).contains("TD_EPOCH: 1 -> 2");
  }

  // Macros.

  @Test
  void td_isRunnableUnlessItIsLeftBuilding() throws Exception {
    assertThat(say("td a", "tdh.mr.finalize rcx=a")).contains("OP_STATE 2 (RUNNABLE)");
    assertThat(say("td b building", "tdh.mr.finalize rcx=b")).contains("  TDX_SUCCESS\n");
  }

  @Test
  void page_isBackedBareOrLarge() throws Exception {
    assertThat(say("page a", "pamt a"))
        .isEqualTo(
            "  PAMT 0x200000: NDA, level 0\n  PAMT range 0x200000: page pair 0x400000 0x401000, 0 pages in use\n");
    assertThat(say("page b bare", "pamt b"))
        .isEqualTo("  PAMT 0x402000: NDA, level 1\n  PAMT range 0x400000: no page pair\n");
    assertThat(say("page c large", "pamt c"))
        .isEqualTo("  PAMT 0x600000: NDA, level 1\n  PAMT range 0x600000: no page pair\n");
  }

  @Test
  void pamtPage_isShownAsOne() throws Exception {
    assertThat(say("page a", "pamt 4M")).startsWith("  PAMT 0x400000: PAMT, level 0\n");
  }

  @Test
  void pamtOutsideOfMemory_saysWhy() throws Exception {
    assertThat(say("pamt 2G"))
        .isEqualTo(
            "  PAMT 0x80000000: TDX_OPERAND_ADDR_RANGE_ERROR, operand RCX (1); class 1: operand; error\n");
  }

  @Test
  void walk_stopsWhereNothingIsMapped() throws Exception {
    assertThat(say("td td", "walk 1G")).isEqualTo("  S-EPT level 3 FREE, entry 8000000000000000\n");
  }

  @Test
  void walkWithoutATd_saysWhy() throws Exception {
    assertThat(say("walk 1G")).startsWith("  S-EPT: TDX_").contains("operand RDX (2)");
  }

  @Test
  void walkAndPamt_ofALargePage_showItsLevelAndEpoch() throws Exception {
    say("td td", "map 1G 2M p", "mem.range.block rcx=1G|1 rdx=td");
    assertThat(say("walk 1G+4K"))
        .isEqualTo(
            """
              S-EPT level 3 NL_MAPPED, entry 0000000000000407, table 0x20d000
              S-EPT level 2 NL_MAPPED, entry 0000000000000407, table 0x20e000
              S-EPT level 1 PENDING_BLOCKED, entry 80000000006000f0
              PAMT 0x600000: REG, level 1, owner 0x200000, BEPOCH 1
              PAMT range 0x600000: no page pair
            """);
  }

  @Test
  void tables_areAddedOnce() throws Exception {
    say("td td", "tables 1G 4K");
    assertThat(say("tables 1G 2M")).isEmpty();
    assertThat(say("map 1G 4K")).contains("S-EPT 0x40000000 4K: - -> PENDING");
  }

  @Test
  void guest_readsAndWritesWhatItAccepted() throws Exception {
    say("td td", "map 1G 4K", "accept 1G 4K");
    assertThat(say("read 1G")).endsWith("  guest: Done\n");
    assertThat(say("write 1G")).endsWith("  guest: Done\n");
    assertThat(say("read 2G"))
        .startsWith("  rax 0000000000000030  TD exit 48: EPT violation at GPA 0x80000000, access\n")
        .endsWith("  guest: nothing retired\n");
  }

  @Test
  void pendingPage_touched_isAnExitOfItsOwnType() throws Exception {
    assertThat(say("td td", "map 1G 4K", "read 1G"))
        .startsWith(
            "  rax 0000000000000030  TD exit 48: EPT violation at GPA 0x40000000, pending page\n");
  }

  @Test
  void macroThatCannotGoOn_isAFailureAndTheScriptGoesOn() throws Exception {
    assertThat(say("td td", "map 1G 2M", "map 1G 4K"))
        .isEqualTo(
            "  FAILED: stopped at tdh.mem.sept.add: TDX_EPT_ENTRY_STATE_INCORRECT, operand RCX (1); class b: S-EPT; error\n");
    assertThat(say("set x 1")).isEqualTo("  x = 0x1\n");
    assertThat(prompt.failures()).isEqualTo(1);
  }

  @Test
  void hostWithoutMemory_isAFailure() throws Exception {
    String[] lines = new String[513];
    Arrays.fill(lines, "page p large");
    assertThat(say(lines)).isEqualTo("  FAILED: stopped: the host's 1024 MiB are used up\n");
    assertThat(prompt.failures()).isEqualTo(2);
  }

  @Test
  void moduleWithoutDynamicPamt_hasNoPairs() throws Exception {
    SeamcallPrompt plain = promptOn(TdxModuleConfig.defaults().withDynamicPamt(false));
    plain.runScript("s.seam", List.of("td td", "map 1G 4K p", "pamt p", "check"));
    assertThat(out.toString())
        .contains("  PAMT range 0x200000: static PAMT\n")
        .doesNotContain("page pair")
        .endsWith("  the module's invariants hold\n");
  }

  // Expectations.

  @ParameterizedTest
  @ValueSource(
      strings = {
        "expect status TDX_OPERAND_INVALID|RCX",
        "expect status operand_invalid|1",
        "expect status TDX_OPERAND_INVALID",
        "expect status 0xC000010000000001",
        "expect rax 0xC000010000000001",
        "expect rcx 0",
        "expect pamt 6M NDA",
        "expect sept 0 4K FREE"
      })
  void expectationThatHolds_isOk(String line) throws Exception {
    say("td td", "tables 0 4K", "mem.range.block rcx=8 rdx=td");
    assertThat(say(line)).isEqualTo("  ok\n");
    assertThat(prompt.failures()).isZero();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "expect status TDX_SUCCESS; status is TDX_OPERAND_INVALID | RCX (0xc000010000000001),"
            + " expected TDX_SUCCESS (0x0000000000000000)",
        "expect status TDX_OPERAND_BUSY; status is TDX_OPERAND_INVALID (0xc000010000000000),"
            + " expected TDX_OPERAND_BUSY (0x8000020000000000)",
        "expect status TDX_OPERAND_INVALID|R8; status is TDX_OPERAND_INVALID | RCX"
            + " (0xc000010000000001), expected TDX_OPERAND_INVALID | R8 (0xc000010000000008)",
        "expect rcx 5; rcx is 0000000000000000, expected 0000000000000005",
        "expect guest TDX_SUCCESS; guest is nothing, expected TDX_SUCCESS (0x0000000000000000)",
        "expect pamt 2M EPT; PAMT is TDR, expected EPT",
        "expect sept 0 4K MAPPED; S-EPT is TDX_EPT_WALK_FAILED, expected MAPPED"
      })
  void expectationThatDoesNotHold_isAFailureWithBothSides(String line, String message)
      throws Exception {
    say("td td", "mem.range.block rcx=8 rdx=td");
    assertThat(say(line)).isEqualTo("  FAILED: " + message + "\n");
    assertThat(prompt.failures()).isEqualTo(1);
  }

  // The prompt.

  @Test
  void talk_tellsWrongLinesAndGoesOnUntilQuit() throws Exception {
    prompt.talk(
        new BufferedReader(new StringReader("bogus\n\nset x 4K\nquit\nset x 5\n")),
        new PrintWriter(err, true));

    assertThat(out.toString())
        .isEqualTo(
            """
            A fresh TDX module. 'help' tells the commands, 'quit' ends.
            seamcall> seamcall> seamcall>   x = 0x1000
            seamcall> \
            """);
    assertThat(err.toString())
        .startsWith("<stdin>:1: \"bogus\" is no command and no leaf; accepted: set,")
        .hasLineCount(1);
  }

  @Test
  void talk_endsWithTheInput() throws Exception {
    prompt.talk(new BufferedReader(new StringReader("set x 1")), new PrintWriter(err, true));
    assertThat(out.toString()).endsWith("seamcall>   x = 0x1\nseamcall> ");
    assertThat(err.toString()).isEmpty();
  }

  @Test
  void help_namesEveryCommandAndEveryLeaf() throws Exception {
    assertThat(say("help"))
        .contains("LEAF [REGISTER=VALUE]...", "set NAME VALUE", "walk GPA", "check ", "quit ");
    String leafs = say("help leafs");
    for (SeamcallLeaf leaf : SeamcallLeaf.values()) {
      assertThat(leafs).contains("%3d %s\n".formatted(leaf.number(), Symbols.nameOf(leaf)));
    }
  }
}
