package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.function.Consumer;

/** A right answer that a test makes wrong. */
final class OutcomeDraft {

  int rc;
  int errno;
  final List<Event> events;
  final Map<String, Long> vmStats;
  final Map<Integer, Map<String, Long>> vcpuDeltas = new HashMap<>();
  Optional<List<long[]>> dirtyRanges;
  Optional<List<long[]>> entries;
  OptionalInt mmioExits;
  OptionalLong lastMmioGpa;
  Optional<String> table;

  OutcomeDraft(OpOutcome outcome) {
    rc = outcome.rc();
    errno = outcome.errno();
    events = new ArrayList<>(outcome.events());
    vmStats = new HashMap<>(outcome.vmStats());
    outcome.vcpuDeltas().forEach((vcpu, delta) -> vcpuDeltas.put(vcpu, new HashMap<>(delta)));
    dirtyRanges = outcome.dirtyRanges();
    entries = outcome.entries();
    mmioExits = outcome.mmioExits();
    lastMmioGpa = outcome.lastMmioGpa();
    table = outcome.table();
  }

  /** What the kernel did, but for one operation. */
  static List<OpOutcome> edit(Recording recording, int op, Consumer<OutcomeDraft> edit) {
    List<OpOutcome> outcomes = new ArrayList<>(recording.outcomes());
    OutcomeDraft draft = new OutcomeDraft(outcomes.get(op));
    edit.accept(draft);
    outcomes.set(op, draft.outcome());
    return outcomes;
  }

  OpOutcome outcome() {
    return new OpOutcome(
        rc,
        errno,
        ImmutableList.copyOf(events),
        ImmutableMap.copyOf(vmStats),
        ImmutableMap.copyOf(vcpuDeltas),
        dirtyRanges,
        entries,
        mmioExits,
        lastMmioGpa,
        table);
  }

  /** Where the first event is that has the text. */
  int find(String text) {
    for (int i = 0; i < events.size(); i++) {
      if (events.get(i).toString().contains(text)) {
        return i;
      }
    }
    throw new AssertionError("no event has '%s'".formatted(text));
  }

  /** Takes events out and puts them in elsewhere. */
  void move(int from, int count, int to) {
    List<Event> moved = new ArrayList<>(events.subList(from, from + count));
    events.subList(from, from + count).clear();
    events.addAll(to, moved);
  }

  /** Changes the text of the first event that has it. */
  void replace(String oldText, String newText) {
    int at = find(oldText);
    Event event = events.get(at);
    events.set(at, new Event(event.name(), event.fields().replace(oldText, newText)));
  }

  /** Changes the text of the dump, which must have it. */
  void replaceInTable(String oldText, String newText) {
    String old = table.orElseThrow();
    if (!old.contains(oldText)) {
      throw new AssertionError("no '%s' in the dump".formatted(oldText));
    }
    table = Optional.of(old.replace(oldText, newText));
  }

  void addToVcpu(String stat, long more) {
    vcpuDeltas.computeIfAbsent(0, v -> new HashMap<>()).merge(stat, more, Long::sum);
  }
}
