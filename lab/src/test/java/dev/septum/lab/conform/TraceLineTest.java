package dev.septum.lab.conform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TraceLineTest {

  @Test
  void lineOfAThreadWithAnOddName_isRead() {
    assertThat(TraceLine.parse(" kvm-nx: [a] b-231 [001] .N.1. 47746: tlb: 1: 2 [kvm]", 7))
        .isEqualTo(new TraceLine(1, 47746, "tlb", "1: 2 [kvm]", 7));
  }

  @Test
  void eventWithoutFields_isRead() {
    assertThat(TraceLine.parse("  x-1   [000] .....  7: event:", 1).fields()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "x-1 [000] ..... 7 event", // no colon
        "x-1 [000] ..... 7: event", // no event
        "x-1 [zero] ..... 7: event: f",
        "x-1 [000] ..... now: event: f",
        "x-1 000 ..... 7: event: f",
        "CPU:1 [LOST 9 EVENTS]"
      })
  void whatIsNoLine_isNamed(String text) {
    assertThatThrownBy(() -> TraceLine.parse(text, 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("not a line of a trace: '%s'", text);
  }

  @Test
  void probe_losesThePlaceThatItProbes() {
    assertThat(event("(kvm_flush_remote_tlbs+0x4/0x50 [kvm])")).isEqualTo(new Event("probe", ""));
    assertThat(event("(f+0x4/0x3 [kvm]) gfn=0x40000 nr_pages=0x200"))
        .isEqualTo(new Event("probe", "gfn=0x40000 nr_pages=0x200"));
    assertThat(event("(f+0xc9/0xf0 [kvm] <- g) ret_pf=5"))
        .isEqualTo(new Event("probe", "ret_pf=5"));
    assertThat(event("gfn 1 (rwxu)")).isEqualTo(new Event("probe", "gfn 1 (rwxu)"));
  }

  private static Event event(String fields) {
    return new TraceLine(0, 1, "probe", fields, 1).toEvent();
  }

  @Test
  void fields_areFoundByTheirWholeName() {
    EventFields fields =
        new EventFields(new Event("e", "as id 0 gfn 40000 xgfn 1 old 0x8000000000000000 level 2"));

    assertThat(fields.number("as id")).isZero();
    assertThat(fields.gfn()).isEqualTo(0x40000);
    assertThat(fields.hex("old")).isEqualTo(Long.MIN_VALUE);
    assertThat(fields.number("level")).isEqualTo(2);
    assertThatThrownBy(() -> fields.hex("ol")).hasMessageStartingWith("no 'ol' in 'as id 0");
    assertThatThrownBy(() -> fields.number("evel")).hasMessageStartingWith("no 'evel' in");
  }

  @Test
  void field_isReplacedInItsPlace() {
    EventFields fields = new EventFields(new Event("e", "gfn 1 old 0x12 new 34"));

    assertThat(fields.withHex("old", 0xffL << 56).withHex("new", 5).event().fields())
        .isEqualTo("gfn 1 old 0xff00000000000000 new 5");
    assertThat(fields.withHex("new", 0x34)).isSameAs(fields);
  }

  @Test
  void numberThatIsNone_isNamed() {
    EventFields fields = new EventFields(new Event("e", "gfn xyz level 99999999999"));
    assertThatThrownBy(fields::gfn).hasMessageStartingWith("no number for 'gfn' in 'gfn xyz");
    assertThatThrownBy(() -> fields.number("level"))
        .hasMessageStartingWith("no number for 'level'");
  }
}
