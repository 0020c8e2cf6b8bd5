package dev.septum.lab.conform;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.common.collect.ImmutableList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

class ConformReportTest {

  private static final ConformResult EQUAL =
      new ConformResult("01-thp", 6, 2063, 0, Optional.empty(), ImmutableList.of());

  private static final ConformResult RACE =
      new ConformResult("09b-concurrent", 8, 7000, 20, Optional.empty(), ImmutableList.of());

  private static final ConformResult DIFFERENT =
      new ConformResult(
          "02-initset",
          26,
          8000,
          0,
          Optional.of(
              new Difference(
                  4,
                  "touch",
                  "event 2",
                  "tdp_map_ret: ret_pf=5",
                  "tdp_map_ret: ret_pf=1",
                  OptionalInt.of(63),
                  ImmutableList.of("kvm_page_fault: vcpu 0"))),
          ImmutableList.of());

  private static final ConformResult BROKEN =
      new ConformResult(
          "09-concurrent",
          8,
          14000,
          3,
          Optional.empty(),
          ImmutableList.of("run 3: op 4 concurrent: 9 flushes", "run 3: op 4 concurrent: more"));

  private static final ConformReport REPORT =
      new ConformReport(List.of(EQUAL, RACE, DIFFERENT, BROKEN));

  @Test
  void text_hasALineForEachAndBothSides() {
    assertThat(REPORT.text())
        .isEqualTo(
            """
            01-thp          equal    6 ops, 2063 events
            09b-concurrent  equal    8 ops, 7000 events, race runs: 20
            02-initset      DIFFERS  at op 4 touch, event 2 (trace.txt:63)
              both      kvm_page_fault: vcpu 0
              recorded  tdp_map_ret: ret_pf=5
              septum    tdp_map_ret: ret_pf=1
            09-concurrent   DIFFERS  8 ops, 14000 events, race runs: 3
              run 3: op 4 concurrent: 9 flushes
              run 3: op 4 concurrent: more
            2 of 4 recordings are equal
            """);
  }

  @Test
  void json_hasTheSame() throws JsonProcessingException {
    assertThat(new ObjectMapper().readTree(REPORT.json()))
        .isEqualTo(
            new ObjectMapper()
                .readTree(
                    """
                    {
                      "format": "septum-conform/1",
                      "recordings": 4,
                      "equal": 2,
                      "results": [
                        {
                          "name": "01-thp", "equal": true,
                          "ops": 6, "events": 2063, "races": 0
                        },
                        {
                          "name": "09b-concurrent", "equal": true,
                          "ops": 8, "events": 7000, "races": 20
                        },
                        {
                          "name": "02-initset", "equal": false,
                          "ops": 26, "events": 8000, "races": 0,
                          "difference": {
                            "op": 4, "opName": "touch", "what": "event 2",
                            "recorded": "tdp_map_ret: ret_pf=5",
                            "emulated": "tdp_map_ret: ret_pf=1",
                            "traceLine": 63,
                            "context": ["kvm_page_fault: vcpu 0"]
                          }
                        },
                        {
                          "name": "09-concurrent", "equal": false,
                          "ops": 8, "events": 14000, "races": 3,
                          "violations": [
                            "run 3: op 4 concurrent: 9 flushes",
                            "run 3: op 4 concurrent: more"
                          ]
                        }
                      ]
                    }
                    """));
    assertThat(REPORT.json()).endsWith("}\n");
  }

  @Test
  void report_isEqualIfAllRecordingsAre() {
    assertThat(REPORT.isEqual()).isFalse();
    assertThat(new ConformReport(List.of(EQUAL, BROKEN)).isEqual()).isFalse();
    assertThat(new ConformReport(List.of(EQUAL, RACE)).isEqual()).isTrue();
  }
}
