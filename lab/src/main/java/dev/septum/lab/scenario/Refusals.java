package dev.septum.lab.scenario;

import com.google.errorprone.annotations.FormatMethod;
import com.google.errorprone.annotations.FormatString;
import java.util.Collection;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Refuses what a file says, with the line and the key of it. */
final class Refusals {

  /** Guest physical addresses end here. */
  private static final long END_OF_MEMORY = 1L << 52;

  private final ScenarioFile file;

  Refusals(ScenarioFile file) {
    this.file = file;
  }

  /** Unless the condition holds, refuses what is at a place. */
  @FormatMethod
  void require(
      boolean condition, String at, @FormatString String format, @Nullable Object... arguments)
      throws ScenarioException {
    if (!condition) {
      throw error(at, format, arguments);
    }
  }

  @FormatMethod
  ScenarioException error(String at, @FormatString String format, @Nullable Object... arguments) {
    return new ScenarioException(file.placeOf(at) + ": " + format.formatted(arguments));
  }

  /** A name that must be one of those that exist. */
  void requireName(String at, String what, String name, Collection<String> names)
      throws ScenarioException {
    require(
        names.contains(name),
        at,
        "there is no %s \"%s\"; accepted: %s",
        what,
        name,
        names.isEmpty() ? "none, the scenario has none" : String.join(", ", names));
  }

  /** A name that may be left out if there is only one. */
  String requireChoice(String at, String key, @Nullable String name, Set<String> names)
      throws ScenarioException {
    if (name != null) {
      requireName(at + "/" + key, key, name, names);
      return name;
    }
    require(!names.isEmpty(), at, "the scenario has no %s", key);
    require(
        names.size() == 1, at, "%s is needed here; accepted: %s", key, String.join(", ", names));
    return names.iterator().next();
  }

  /** A name that the file gives to something: it becomes a part of places and of {@code vcpu}. */
  void requirePlainName(String at, String name) throws ScenarioException {
    require(
        name.matches("[A-Za-z0-9_-]+"),
        at,
        "\"%s\" is no name; accepted: letters, digits, - and _",
        name);
  }

  void requireBetween(String at, long number, long least, long most) throws ScenarioException {
    require(
        number >= least && number <= most,
        at,
        "%s is not accepted; accepted: %s to %s",
        number,
        least,
        most);
  }

  /** A size or an address of whole pages. */
  void requirePages(String at, @Nullable Bytes bytes) throws ScenarioException {
    require(
        bytes == null || (bytes.isPages() && bytes.value() <= END_OF_MEMORY),
        at,
        "%s is not accepted; accepted: a multiple of 4K up to 4096T",
        bytes);
  }

  /** Ranges of whole pages. */
  void requirePages(String at, @Nullable Collection<ByteRange> ranges) throws ScenarioException {
    if (ranges != null) {
      for (ByteRange range : ranges) {
        requirePages(at, range);
      }
    }
  }

  /** A range of whole pages. */
  void requirePages(String at, @Nullable ByteRange range) throws ScenarioException {
    require(
        range == null || (range.isPages() && range.end() <= END_OF_MEMORY),
        at,
        "%s is not accepted; accepted: from one multiple of 4K to another, up to 4096T",
        range);
  }
}
