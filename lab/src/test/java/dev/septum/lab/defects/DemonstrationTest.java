package dev.septum.lab.defects;

import static java.util.Map.entry;
import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import dev.septum.dpamt.DpamtShape;
import dev.septum.lab.defects.Protocol.Kind;
import dev.septum.mmu.SplitDesign;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.TdxDesign.Splits;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Each defect, red on the posted design with exactly these findings, and green on the sound one.
 */
class DemonstrationTest {

  /** Page numbers depend on the host's placement; these findings do not depend on them. */
  private static final Pattern PAGES = Pattern.compile("(pfn=|externalSpt=|pfn 0x)\\p{XDigit}+");

  private static final String BLOCKED =
      """
      parted mirror and S-EPT disagree about gfn 0x230
      parted the leaf stays BLOCKED: the guest cannot use memory that KVM counts as mapped
      """;

  /** A failed split in which the mirror keeps {@code more} and one 4K leafs. */
  private static String bugged(String splat, int more) {
    return """
        report VM 1 is bugged: SEAMCALL TDH_MEM_PAGE_DEMOTE failed: %s
        report VM 1: the S-EPT lacks Leaf[gfn=1000, level=LEVEL_4K, pfn=*] of the mirror, and %d \
        more like it
        report VM 1: the S-EPT lacks MappedTable[gfn=512, level=LEVEL_2M, externalSpt=*] of the \
        mirror
        report VM 1: the leaf at gfn 0x200 is BLOCKED
        report VM 1: the mirror lacks Leaf[gfn=512, level=LEVEL_2M, pfn=*] of the S-EPT
        report external_page_table has 1 pages, and reasons for 0
        """
        .formatted(splat, more);
  }

  /** The leaf that stays blocked keeps its table, its pair and the TD. */
  private static final String LEFT =
      """
      report after the TD's end pamt_page still has 2 page(s)
      report after the TD's end td_control still has 1 page(s)
      """;

  private static final String TABLE_LEFT =
      "report after the TD's end external_page_table still has 1 page(s)\n";

  /** Demonstrations in which KVM_BUG_ON must fire on either design. */
  private static final ImmutableSet<String> PLANTED = ImmutableSet.of("D8");

  private static final ImmutableMap<String, String> FOUND =
      ImmutableMap.<String, String>builder()
          .put(
              "D1",
              """
              parted the guest keeps private memory that KVM calls shared
              parted no error, and nothing was removed from the file
              parted the guest is resumed into the same violation, and user space never told
              report VM 1: the mirror leaf at gfn 0x200 maps shared frames
              """)
          .put(
              "D2",
              "parted a BUSY that was gone at the second try bugs the VM\n"
                  + BLOCKED
                  + bugged("TDX_SW_ERROR", 495)
                  + TABLE_LEFT
                  + LEFT)
          .put(
              "D3",
              "parted 1 page(s) are in nobody's hands\n"
                  + bugged("TDX_SW_ERROR", 495)
                  + "report pamt_cache has 13 pages, and reasons for 12\n"
                  + TABLE_LEFT
                  + "report after the TD's end pamt_cache still has 1 page(s)\n"
                  + LEFT)
          .put(
              "D4",
              """
              parted the fault waits for the end of an invalidation that nobody will end
              report VM 1: an invalidation was begun and never ended
              """)
          .put(
              "D5",
              BLOCKED + bugged("TDX_OPERAND_INVALID (0xc000010000000000)", 495) + TABLE_LEFT + LEFT)
          .put(
              "D6",
              "parted a topup in another thread spins for as long as vCPUs take to leave the"
                  + " guest\n")
          .put("D7", "parted 2 pages were drawn, used by nobody and freed\n")
          .put(
              "D8",
              """
              parted the backend splits a leaf for a page that is not there
              parted the backend takes the missing page for one
              """
                  + BLOCKED
                  + """
                  report VM 1: the S-EPT lacks Leaf[gfn=1000, level=LEVEL_4K, pfn=*] of the \
                  mirror, and 495 more like it
                  report VM 1: the S-EPT lacks MappedTable[gfn=512, level=LEVEL_2M, \
                  externalSpt=-1] of the mirror
                  report VM 1: the leaf at gfn 0x200 is BLOCKED
                  report VM 1: the mirror lacks Leaf[gfn=512, level=LEVEL_2M, pfn=*] of the S-EPT
                  report VM 1: the mirror table at gfn 0x200 has no external page
                  """
                  + LEFT)
          .put(
              "D9",
              "parted the read lock does not allow the split, and nobody takes the write lock\n")
          .put(
              "v4-get",
              "parted the range at pfn 0x* has refcount -1\n"
                  + BLOCKED
                  + bugged("TDX_MISSING_PAMT_PAGE_PAIR | R8 (0x8000030800000008)", 495)
                  + """
                  report the range at pfn 0x* has 0 users, refcount -1
                  report the range at pfn 0x* has no pair, refcount -1
                  """
                  + TABLE_LEFT
                  + LEFT)
          .put(
              "v4-put",
              """
              parted every later get of the range succeeds at once and installs nothing
              report the range at pfn 0x* has 0 users, refcount 1
              report the range at pfn 0x* has no pair, refcount 1
              """)
          .put(
              "f",
              "parted another TD's PAMT.ADD bugs this one; kicking its own vCPUs cannot help\n"
                  + BLOCKED
                  + bugged("TDX_OPERAND_BUSY | R12 (0x800002000000000c)", 510)
                  + TABLE_LEFT
                  + LEFT)
          .buildOrThrow();

  static List<String> shown() {
    return ids(false);
  }

  static List<String> harmless() {
    return ids(true);
  }

  private static List<String> ids(boolean harmless) {
    return Catalogue.shown(List.of("all")).stream()
        .filter(defect -> requireNonNull(defect.demonstration()).isHarmless() == harmless)
        .map(Defect::id)
        .toList();
  }

  private static DefectRun run(String id) {
    return DefectRun.of(Catalogue.shown(List.of(id)).get(0));
  }

  private static String findings(DesignRun run) {
    StringBuilder found = new StringBuilder();
    run.lines().stream()
        .filter(line -> line.kind() == Kind.PARTED || line.kind() == Kind.REPORT)
        .forEach(line -> found.append(line.kind()).append(' ').append(line.text()).append('\n'));
    return PAGES.matcher(found).replaceAll("$1*");
  }

  private static List<String> steps(DesignRun run) {
    return run.lines().stream()
        .filter(line -> line.kind() == Kind.STEP)
        .map(Protocol.Line::text)
        .toList();
  }

  @ParameterizedTest
  @MethodSource("shown")
  void aDefect_showsOnThePostedDesign_andNotOnTheSoundOne(String id) {
    DefectRun run = run(id);

    assertThat(findings(run.posted())).isEqualTo(FOUND.get(id));
    assertThat(run.posted().verdict()).isEqualTo(Verdict.DEFECT);
    boolean planted = PLANTED.contains(id);
    boolean bugged = planted || findings(run.posted()).contains("bugged");
    assertThat(run.posted().splats()).hasSize(bugged ? 1 : 0);
    assertThat(findings(run.sound())).isEmpty();
    assertThat(run.sound().verdict()).isEqualTo(Verdict.SOUND);
    assertThat(run.sound().splats()).hasSize(planted ? 1 : 0);
    assertThat(run.isAsExpected()).isTrue();
    assertThat(steps(run.posted())).isNotEmpty().isEqualTo(steps(run.sound()));
  }

  @ParameterizedTest
  @MethodSource("harmless")
  void aHarmlessDefect_showsOnBothDesigns_andBreaksNothing(String id) {
    DefectRun run = run(id);

    for (DesignRun design : List.of(run.posted(), run.sound())) {
      assertThat(findings(design)).isEmpty();
      assertThat(design.verdict()).isEqualTo(Verdict.HARMLESS);
      assertThat(design.splats()).isEmpty();
    }
    assertThat(run.posted().lines()).isEqualTo(run.sound().lines());
    assertThat(run.isAsExpected()).isTrue();
  }

  @Test
  void aHarmlessDefect_thatBreaksSomethingOrCostsNothing_isNotAsExpected() {
    for (boolean breaks : new boolean[] {true, false}) {
      Demonstration demonstration =
          new Demonstration() {
            @Override
            public void run(Laboratory lab) {
              lab.protocol().harmlessIf(breaks, "for nothing");
              lab.protocol().partedIf(breaks, "parted");
            }

            @Override
            public boolean isHarmless() {
              return true;
            }
          };
      DefectRuns runs =
          DefectRuns.of(List.of(Defect.shown("X", "nothing", "nowhere", "None.", demonstration)));

      assertThat(runs.areAsExpected()).isFalse();
      assertThat(runs.text())
          .endsWith("0 of 1 defects are the same on both, and harmless; not so: X\n");
    }
  }

  /** A name decides nothing: the designs with each other's names come to the opposite verdicts. */
  @ParameterizedTest
  @MethodSource("shown")
  void theVerdict_isTakenFromWhatWasSeen(String id) {
    Defect defect = Catalogue.shown(List.of(id)).get(0);
    Demonstration demonstration = requireNonNull(defect.demonstration());
    TdxDesign posted = demonstration.posted();
    TdxDesign named = posted.withName("tdx");
    TdxDesign sound = TdxDesign.SOUND.withName("tdx-v3");

    assertThat(Laboratory.run(demonstration, named).verdict()).isEqualTo(Verdict.DEFECT);
    assertThat(Laboratory.run(demonstration, sound).verdict()).isEqualTo(Verdict.SOUND);
  }

  /** With one strategy put right, each of these is gone: it is that strategy's. */
  @Test
  void aDefect_isGoneOnceItsStrategyIsPutRight() {
    TdxDesign v3 = TdxDesign.POSTED_V3;
    TdxDesign soundSplits = v3.withSplits(Splits.SOUND);
    TdxDesign soundPamt = v3.withDpamt(DpamtShape.V6);
    TdxDesign soundMmu = v3.withMmu(SplitDesign.SOUND);
    Map<String, TdxDesign> cures =
        Map.ofEntries(
            entry("D1", soundMmu),
            entry("D2", soundSplits),
            entry("D3", soundSplits),
            entry("D4", soundMmu),
            entry("D6", soundSplits),
            entry("D7", soundPamt),
            entry("D8", soundMmu),
            entry("D9", soundMmu),
            entry("v4-put", soundPamt),
            entry("f", soundPamt));

    cures.forEach(
        (id, design) ->
            assertThat(
                    Laboratory.run(
                            requireNonNull(Catalogue.shown(List.of(id)).get(0).demonstration()),
                            design)
                        .verdict())
                .as(id)
                .isEqualTo(Verdict.SOUND));
  }

  /** The whole protocol of one defect, for its order. */
  @Test
  void aProtocol_tellsStepsAndWhatWasSeenInTheirOrder() {
    assertThat(run("D5").posted().lines().subList(0, 6))
        .extracting(line -> line.kind() + " " + line.text())
        .containsExactly(
            "step the guest accepts 2M at gfn 0x200, the host maps a 2M leaf",
            "step inject: the next TDH_MEM_PAGE_DEMOTE returns TDX_OPERAND_INVALID"
                + " (0xc000010000000000)",
            "step KVM_SET_MEMORY_ATTRIBUTES makes gfns [0x210, 0x220) shared",
            "observed the ioctl returns 0",
            "observed gfn 0x230: the mirror maps 4K, the S-EPT 2M BLOCKED",
            "parted mirror and S-EPT disagree about gfn 0x230");
  }

  @Test
  void aDemonstrationThatShowsNothing_isNotAsExpected() {
    Defect nothing = Defect.shown("X", "nothing", "nowhere", "None.", lab -> lab.packed());
    DefectRuns runs = DefectRuns.of(List.of(nothing));

    assertThat(runs.areAsExpected()).isFalse();
    assertThat(runs.text())
        .isEqualTo(
            """
            X  nothing

              tdx-v3: SOUND

              tdx: SOUND

            0 of 1 defects show on tdx-v3 and not on tdx; not so: X
            """);
  }

  @Test
  void aDemonstrationThatIsRedOnTheSoundDesignToo_isNotAsExpected() {
    Defect always =
        Defect.shown(
            "X", "always", "nowhere", "None.", lab -> lab.protocol().partedIf(true, "parted"));

    assertThat(DefectRuns.of(List.of(always)).areAsExpected()).isFalse();
  }
}
