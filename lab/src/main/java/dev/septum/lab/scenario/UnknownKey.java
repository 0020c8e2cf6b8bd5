package dev.septum.lab.scenario;

import com.google.common.base.CharMatcher;
import com.google.common.base.Strings;
import com.google.common.collect.ImmutableMap;
import java.util.Collection;
import java.util.Locale;
import java.util.Optional;

/** What the author of a key that does not exist may have had in mind. */
final class UnknownKey {

  private static final CharMatcher SEPARATORS = CharMatcher.anyOf("-_ ");

  private static final String CONTENTS =
      "not modelled: what is in guest memory; nearest: expect says which pages are mapped, and"
          + " get-dirty-log which were written";

  private static final String PROCESSOR =
      "not modelled: registers, MSRs, CPUID and interrupts of a vCPU; nearest: guests accept, read,"
          + " write, execute and convert";

  private static final String TIME =
      "not modelled: time; nearest: inject with before says at which lock another thread's steps"
          + " are done";

  private static final String RANDOM =
      "not modelled: random steps; nearest: repeat, and placement: seeded of the host";

  /** Words for what a scenario cannot say, without separators. */
  private static final ImmutableMap<String, String> NOT_MODELLED =
      ImmutableMap.<String, String>builder()
          .put("pattern", CONTENTS)
          .put("value", CONTENTS)
          .put("expectvalue", CONTENTS)
          .put("contents", CONTENTS)
          .put("data", CONTENTS)
          .put("memset", CONTENTS)
          .put("registers", PROCESSOR)
          .put("regs", PROCESSOR)
          .put("setregs", PROCESSOR)
          .put("msr", PROCESSOR)
          .put("msrs", PROCESSOR)
          .put("cpuid", PROCESSOR)
          .put("interrupt", PROCESSOR)
          .put("irq", PROCESSOR)
          .put("sleep", TIME)
          .put("wait", TIME)
          .put("delay", TIME)
          .put("timeout", TIME)
          .put("random", RANDOM)
          .put(
              "ioctl",
              "not modelled: ioctls by number; nearest: set-attributes, add-slot, pre-fault")
          .put(
              "userfaultfd",
              "not modelled: userfaultfd; nearest: discard, after which a touch gets a new page")
          .put(
              "mprotect",
              "not modelled: protection of the VMM's memory; nearest: a slot with read-only")
          .put("munmap", "not modelled: unmapping the VMM's memory; nearest: discard, delete-slot")
          .put("nested", "not modelled: nested guests; nearest: a second VM")
          .put("numa", "not modelled: NUMA; nearest: placement of the host")
          .put("<<", "merges (<<) are not read; write the keys out")
          .buildOrThrow();

  /** Words of others for what a scenario can say, without separators. */
  private static final ImmutableMap<String, String> OTHER_WORDS =
      ImmutableMap.<String, String>builder()
          .put("exec", "execute")
          .put("call", "execute")
          .put("touch", "write")
          .put("madvise", "discard")
          .put("fallocate", "allocate")
          .put("hole", "punch-hole")
          .put("mapgpa", "convert")
          .put("hypercall", "convert")
          .put("setmemoryattributes", "set-attributes")
          .put("setusermemoryregion", "add-slot")
          .put("setusermemoryregion2", "add-slot")
          .put("memslots", "slots")
          .put("memslot", "slots")
          .put("removeslot", "delete-slot")
          .put("prefaultmemory", "pre-fault")
          .put("description", "about")
          .put("name", "scenario")
          .put("result", "returns")
          .put("errno", "returns")
          .put("fail", "inject")
          .put("loop", "repeat")
          .put("times", "repeat")
          .put("threads", "concurrently")
          .put("address", "gpa")
          .put("length", "size")
          .put("guestmemfd", "file")
          .buildOrThrow();

  private UnknownKey() {}

  /** Why there is no such thing, and what comes nearest. */
  static Optional<String> notModelled(String key) {
    return Optional.ofNullable(NOT_MODELLED.get(plain(key)));
  }

  /** The key that is written like this one but for a slip, or that means the same. */
  static Optional<String> nearest(String key, Collection<String> known) {
    String plain = plain(key);
    String meant = OTHER_WORDS.getOrDefault(plain, "");
    return known.stream().filter(one -> isSlip(plain, plain(one)) || one.equals(meant)).findFirst();
  }

  /** Keys that other words are taken for. */
  static Collection<String> meanings() {
    return OTHER_WORDS.values();
  }

  private static String plain(String key) {
    return SEPARATORS.removeFrom(key).toLowerCase(Locale.ROOT);
  }

  /** Whether two words differ in at most two letters that stand together. */
  private static boolean isSlip(String one, String other) {
    int longest = Math.max(one.length(), other.length());
    int same =
        Strings.commonPrefix(one, other).length() + Strings.commonSuffix(one, other).length();
    return same > 1 && longest - same <= 2;
  }
}
