package dev.septum.lab.sweep;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.lab.sweep.Plan.Disturbance;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PlanTest {

  @Test
  void aPlanIsReadAsItIsWritten() {
    String text = "pamt_cache#3=fail,TDH_MEM_TRACK#1=busy-twice,pamt_lock#2=lost-race";

    Plan plan = Plan.parse(text);

    assertThat(plan)
        .isEqualTo(
            Plan.of(
                new Disturbance(new Point("pamt_cache", 3), Mode.FAIL),
                new Disturbance(new Point("TDH_MEM_TRACK", 1), Mode.BUSY_TWICE),
                new Disturbance(new Point("pamt_lock", 2), Mode.LOST_RACE)));
    assertThat(plan).hasToString(text);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "pamt_cache=fail | \"pamt_cache=fail\" is no PLACE#NUMBER=MODE, such as pamt_cache#3=fail",
        "pamt_cache#0=fail | \"pamt_cache#0=fail\" is no PLACE#NUMBER=MODE, such as pamt_cache#3=fail",
        "pamt_cache#1=busy | pamt_cache cannot be disturbed by \"busy\"; accepted: [fail]",
        "pamt_lock#1=fail | pamt_lock cannot be disturbed by \"fail\"; accepted: [lost-race]",
        "TDH_PHYMEM_PAMT_ADD#1=contended | TDH_PHYMEM_PAMT_ADD cannot be disturbed by \"contended\";"
            + " accepted: [busy, busy-twice, interrupted, refused, not-free]"
      })
  void whatIsNoPlan_isToldWithWhatIsAccepted(String text, String message) {
    assertThatThrownBy(() -> Plan.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message);
  }

  @Test
  void busyTwice_isTwoCallsInARow() {
    Disturbance twice = new Disturbance(new Point("TDH_MEM_TRACK", 2), Mode.BUSY_TWICE);

    assertThat(twice.concerns("TDH_MEM_TRACK", 1)).isFalse();
    assertThat(twice.concerns("TDH_MEM_TRACK", 2)).isTrue();
    assertThat(twice.concerns("TDH_MEM_TRACK", 3)).isTrue();
    assertThat(twice.concerns("TDH_MEM_TRACK", 4)).isFalse();
    assertThat(twice.concerns("TDH_MEM_RANGE_BLOCK", 2)).isFalse();
  }
}
