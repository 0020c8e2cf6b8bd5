package dev.septum.lab.conform;

import static dev.septum.lab.conform.Synthetic.tables;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.kvm.PageLevel;
import dev.septum.lab.conform.TableRun.Kind;
import dev.septum.mmu.SpteFormat;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TableSnapshotTest {

  private static final List<String> LINES =
      List.of(
          "root hpa=0x1000000 level=4",
          "table L4 gfn=0x0 spte=0x0000000001001827",
          "leaf L3 gfn=0x40000 n=2 spte=0x0000000180000ee7",
          "table L3 gfn=0xc0000 spte=0x0000000001002827",
          "leaf L2 gfn=0xc0000 n=3 spte=0x0000000110c00ee7",
          "table L2 gfn=0xc0600 spte=0x0000000001003827",
          "leaf L1 gfn=0xc0600 n=4 spte=0x0000000110839e67",
          "nonpresent L1 gfn=0xc0604 spte=0x0008000040000017",
          "total tables(incl root)=4 leaf4k=4 leaf2m=3 leaf1g=2");

  @Test
  void dump_isReadAndWritten() {
    TableSnapshot tables = TableSnapshot.parse(LINES);

    assertThat(tables.rootFrame()).hasValue(0x1000);
    assertThat(tables.rootLevel()).isEqualTo(PageLevel.LEVEL_512G);
    assertThat(tables.runs())
        .hasSize(7)
        .contains(new TableRun(Kind.LEAF, PageLevel.LEVEL_2M, 0xc0000, 3, 0x110c00ee7L));
    assertThat(tables.leafs(PageLevel.LEVEL_4K)).isEqualTo(4);
    assertThat(tables.leafs(PageLevel.LEVEL_1G)).isEqualTo(2);
    assertThat(tables.lines()).isEqualTo(LINES);
  }

  @Test
  void noRoot_isOneLine() {
    assertThat(TableSnapshot.parse(List.of("root none"))).isEqualTo(TableSnapshot.EMPTY);
    assertThat(TableSnapshot.EMPTY.lines()).containsExactly("root none");
  }

  @Test
  void leafsThatContinueEachOther_areOneLine() {
    assertThat(
            tables(
                    "leaf L2 gfn=0x40000 n=1 spte=0x112600ee7",
                    "leaf L2 gfn=0x40200 n=2 spte=0x112800ee7",
                    "leaf L2 gfn=0x40600 n=1 spte=0x112c00ee5", // another bit
                    "leaf L2 gfn=0x40a00 n=1 spte=0x113000ee5", // a hole
                    "leaf L2 gfn=0x40c00 n=1 spte=0x113300ee5", // another frame
                    "leaf L1 gfn=0x40e00 n=1 spte=0x113500ee5", // another level
                    "table L2 gfn=0x41000 spte=0x1001827",
                    "table L2 gfn=0x41200 spte=0x1201827")
                .lines())
        .hasSize(9)
        .contains("leaf L2 gfn=0x40000 n=3 spte=0x0000000112600ee7");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "leaf L6 gfn=0x0 n=1 spte=0x1",
        "leaf L1 gfn=0x0 n=1 spte=1",
        "leaf L1 gfn=0x0 n=9999999999 spte=0x1",
        "leaf L1 gfn=0x0 n=1 spte=0x11111111111111111",
        "table L1 gfn=0x0",
        ""
      })
  void lineThatIsNone_isNamedByItsNumber(String line) {
    assertThatThrownBy(() -> TableSnapshot.parse(List.of(LINES.get(0), line, LINES.get(8))))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("2: not a line of a dump: '%s'", line);
  }

  @ParameterizedTest
  @ValueSource(strings = {"root hpa=0x1 level=3", "root hpa=1000 level=4", "root", ""})
  void rootThatIsNone_isNamed(String line) {
    assertThatThrownBy(() -> TableSnapshot.parse(List.of(line, LINES.get(8))))
        .hasMessage("1: not a root: '%s'", line);
  }

  @Test
  void nothingAtAll_isNoDump() {
    assertThatThrownBy(() -> TableSnapshot.parse(List.of())).hasMessage("1: not a root: ''");
  }

  @Test
  void index_findsTheEntryThatCoversAGfn() {
    TableIndex index = new TableIndex(TableSnapshot.parse(LINES));

    assertThat(index.spte(PageLevel.LEVEL_4K, 0xc0603)).isEqualTo(0x11083ce67L);
    assertThat(index.spte(PageLevel.LEVEL_4K, 0xc0604)).isEqualTo(0x8000040000017L);
    assertThat(index.spte(PageLevel.LEVEL_4K, 0xc0605)).isEqualTo(SpteFormat.NONPRESENT);
    assertThat(index.spte(PageLevel.LEVEL_4K, 0xc05ff)).isEqualTo(SpteFormat.NONPRESENT);
    assertThat(index.spte(PageLevel.LEVEL_2M, 0xc05ff)).isEqualTo(0x111000ee7L);
    assertThat(index.spte(PageLevel.LEVEL_1G, 0x80001)).isEqualTo(0x1c0000ee7L);
    assertThat(index.spte(PageLevel.LEVEL_1G, 0xc0001)).isEqualTo(0x1002827L);
    assertThat(index.tables(PageLevel.LEVEL_1G)).containsExactly(0xc0000L);
    assertThat(index.tables(PageLevel.LEVEL_4K)).isEmpty();
  }
}
