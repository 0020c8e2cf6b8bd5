package dev.septum.lab.conform;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import dev.septum.kvm.PageLevel;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;

/** Small pieces of recordings that no kernel ever made. */
final class Synthetic {

  /** A 4-level root with everything recorded. */
  static final Recording.Header HEADER = header(PageLevel.LEVEL_4K, true);

  private Synthetic() {}

  static Recording.Header header(PageLevel smallestLevel, boolean hasProbes) {
    return new Recording.Header(
        "name", "description", smallestLevel, true, false, PageLevel.LEVEL_512G, hasProbes);
  }

  /** An outcome with these events, each "name: fields". */
  static OpOutcome outcome(String... events) {
    ImmutableList.Builder<Event> list = ImmutableList.builder();
    for (String event : events) {
      list.add(event(event));
    }
    return new OpOutcome(
        0,
        0,
        list.build(),
        ImmutableMap.of(),
        ImmutableMap.of(),
        Optional.empty(),
        Optional.empty(),
        OptionalInt.empty(),
        OptionalLong.empty(),
        Optional.empty());
  }

  static Event event(String text) {
    int colon = text.indexOf(": ");
    return colon < 0
        ? new Event(text, "")
        : new Event(text.substring(0, colon), text.substring(colon + 2));
  }

  /** A change of an SPTE. */
  static String change(int level, String gfn, String oldSpte, String newSpte) {
    return "%s: as id 0 gfn %s level %d old_spte %s new_spte %s"
        .formatted(SpteChange.NAME, gfn, level, oldSpte, newSpte);
  }

  /** A fast page fault that fixed a leaf. */
  static String fastFix(String gpa, String oldSpte, String newSpte) {
    return "fast_page_fault: vcpu 0 gva %s error_code P|W|U sptep 0 old 0x%s new %s spurious 0 fixed 1"
        .formatted(gpa, oldSpte, newSpte);
  }

  /** An operation with parameters as JSON with single quotes. */
  static RecordedOp op(String name, String parameters, OpOutcome outcome) {
    return new RecordedOp(
        0,
        name,
        fields("{" + parameters + "}"),
        ImmutableMap.of(),
        outcome,
        true,
        ImmutableList.of(),
        ImmutableList.of(),
        Optional.empty(),
        Optional.empty());
  }

  private static OpFields fields(String json) {
    try {
      return new OpFields("op", new ObjectMapper().readTree(json.replace('\'', '"')));
    } catch (JsonProcessingException e) {
      throw new AssertionError(e);
    }
  }

  /** A dump without its last line, which is added. */
  static TableSnapshot tables(String... lines) {
    ImmutableList.Builder<TableRun> runs = ImmutableList.builder();
    for (String line : List.of(lines)) {
      runs.add(TableRun.parse(line));
    }
    return new TableSnapshot(OptionalLong.of(0x1000), PageLevel.LEVEL_512G, runs.build());
  }
}
