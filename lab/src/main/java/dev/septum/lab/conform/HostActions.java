package dev.septum.lab.conform;

import dev.septum.mmu.MmuNotifier;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What the host's memory management did to the VM during an operation, by the page faults before
 * it: the recorded calls of the MMU notifier, which are an input of the replay.
 *
 * <p>A fault that breaks copy-on-write makes such calls itself, so they are repeated where our own
 * fault of the same number looks its page up.
 */
final class HostActions {

  private static final Pattern RANGE =
      Pattern.compile("mmu notifier \\S+(?: \\S+)?: 0x(\\p{XDigit}+) -- 0x(\\p{XDigit}+)");
  private static final Pattern PAGE =
      Pattern.compile("mmu notifier test age hva: 0x(\\p{XDigit}+)");

  private record Call(int faultsBefore, TraceLine line) {}

  private final List<Call> calls = new ArrayList<>();
  private int next;

  /** The calls in a part of a trace. */
  HostActions(List<TraceLine> lines) {
    int faults = 0;
    for (TraceLine line : lines) {
      switch (line.event()) {
        case EventFormats.PAGE_FAULT -> faults++;
        case "kvm_unmap_hva_range", "kvm_age_hva", "kvm_test_age_hva" ->
            calls.add(new Call(faults, line));
        default -> {}
      }
    }
  }

  /** Repeats the calls that came before page fault number {@code faults + 1}, each once. */
  void repeat(MmuNotifier notifier, int faults) {
    while (next < calls.size() && calls.get(next).faultsBefore <= faults) {
      call(notifier, calls.get(next++).line);
    }
  }

  private static void call(MmuNotifier notifier, TraceLine line) {
    Matcher page = PAGE.matcher(line.fields());
    if (page.matches()) {
      notifier.testYoung(hex(page.group(1)));
      return;
    }
    Matcher range = RANGE.matcher(line.fields());
    if (!range.matches()) {
      return;
    }
    if (line.event().equals("kvm_age_hva")) {
      notifier.clearYoung(hex(range.group(1)), hex(range.group(2)));
    } else {
      notifier.invalidateRange(hex(range.group(1)), hex(range.group(2)));
    }
  }

  private static long hex(String digits) {
    return Long.parseUnsignedLong(digits, 16);
  }
}
