package dev.septum.lab;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.StringWriter;
import org.junit.jupiter.api.Test;

class VerifyBackendCommandTest {

  private StringWriter out = new StringWriter();
  private StringWriter err = new StringWriter();

  private int run(String... arguments) {
    out = new StringWriter();
    err = new StringWriter();
    return TestCommand.run(out, err, arguments);
  }

  @Test
  void aBackendThatKeepsEveryRule_isTold() {
    assertThat(run("verify-backend", "reference", "--rule", "CAP,RACE.1")).isZero();
    assertThat(err.toString()).isEmpty();
    assertThat(out.toString())
        .isEqualTo(
            """
            backend  reference (built in): the simplest correct external page table, a map; what\
             others are compared with
            claims   external-page-table, huge-leafs, shared-split

            CAP.1    passed     external page table a fault is mapped
            CAP.2    passed     huge leafs a fault in 2M folios is mapped at 2M
            CAP.3    skipped    no huge leafs gmem max mapping level is 4K
                                backend reference claims HUGE_LEAFS
            CAP.4    passed     shared split splits under the read lock
            CAP.5    skipped    no shared split refuses the read lock only
                                backend reference claims SHARED_SPLIT
            CAP.6    passed     no split cache never needs a topup
            CAP.7    skipped    no external page table nothing is shown and no op is needed
                                backend reference claims EXTERNAL_PAGE_TABLE
            CAP.8    passed     what a backend says of itself is there and stays
            RACE.1   passed     faults of two ranges
                                exhaustive: 18 schedules, 0 pruned, 82 steps deep, complete

            6 passed, 0 failed, 3 skipped, 0 not judged
            All held: the backend keeps every rule on what it claims.
            """);
  }

  @Test
  void aRuleThatIsBroken_isTold_andIsExpectedIfTheUserSaysSo() {
    assertThat(run("verify-backend", "tdx-v3", "--rule", "SPLIT.1,SPLIT.5")).isEqualTo(1);
    assertThat(out.toString())
        .contains(
            """
            SPLIT.1  passed     a split under the write lock can be done
            SPLIT.5  FAILED     a refused split changes nothing
                                leafs after a split was refused ==> expected: <[Leaf[gfn=0,\
            """)
        .endsWith(
            """
            1 passed, 1 failed, 0 skipped, 0 not judged
            docs/spec.md says what is meant by SPLIT.5.
            """);
    String[] expecting = {
      "verify-backend", "tdx-v3", "--rule", "SPLIT.1,SPLIT.5", "--expect", "SPLIT.5"
    };
    assertThat(run(expecting)).isZero();
    assertThat(out.toString())
        .endsWith("As expected: the backend breaks these rules and no other.\n");
  }

  @Test
  void aRuleThatWasExpectedToBreak_andDoesNot_isFound() {
    assertThat(run("verify-backend", "reference", "--rule", "CALL.1", "--expect", "CALL.1"))
        .isEqualTo(1);
    assertThat(out.toString()).endsWith("Expected to fail, and did not: CALL.1\n");
  }

  @Test
  void json_hasEachRuleWithItsVerdict() throws IOException {
    assertThat(run("verify-backend", "none", "--rule", "CALL.1", "--json")).isZero();
    JsonNode report = new ObjectMapper().readTree(out.toString());
    assertThat(report.get("held").asBoolean()).isTrue();
    assertThat(report.get("rules").get(0))
        .hasToString(
            "{\"rule\":\"CALL.1\",\"test\":\"noOp_throws\",\"verdict\":\"PASSED\",\"reason\":\"\"}");
  }

  @Test
  void mistakes_areOneLine() {
    assertMistake("no backend \"sev\"; there is none, reference, tdx, tdx-v3", "sev");
    assertMistake(
        "no rule \"SPLIT.8\"; docs/spec.md has CALL, CAP, FAULT, CACHE, TABLE, SPLIT, FAIL, RACE,"
            + " END, KVM",
        "none",
        "--rule",
        "SPLIT.8");
    assertMistake(
        "--expect CAP.1 is not among the rules of --rule",
        "none",
        "--rule",
        "CALL",
        "--expect",
        "CAP.1");
    assertMistake("--rule-timeout 0 is not in [1, 86400]", "none", "--rule-timeout", "0");
  }

  private void assertMistake(String message, String... arguments) {
    String[] all = new String[arguments.length + 1];
    all[0] = "verify-backend";
    System.arraycopy(arguments, 0, all, 1, arguments.length);
    assertThat(run(all)).isEqualTo(2);
    assertThat(out.toString()).isEmpty();
    assertThat(err.toString())
        .isEqualTo("septum: " + message + "\nTry 'septum verify-backend --help'.\n");
  }
}
