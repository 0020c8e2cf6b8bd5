package dev.septum.lab.scenario;

import static com.google.common.base.Preconditions.checkArgument;

import com.fasterxml.jackson.annotation.JsonValue;
import dev.septum.kvm.PageLevel;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * How a range is expected to be mapped.
 *
 * @param level by leafs of this level only; null for not at all
 * @param isPending the S-EPT state of a TD's private leafs: not accepted, accepted, or either
 *     (null)
 */
public record Mapped(@Nullable PageLevel level, @Nullable Boolean isPending) {

  static final String ACCEPTED = "none, 4K, 2M or 1G, the latter three with pending or accepted";

  private static final Pattern TEXT = Pattern.compile("(none|4K|2M|1G)(?:\\s+(pending|accepted))?");

  /** Reads {@code none}, {@code 4K}, {@code 2M pending} and the like. */
  public static Mapped parse(String text) {
    Matcher matcher = TEXT.matcher(text.trim());
    checkArgument(matcher.matches(), ACCEPTED);
    String level = matcher.group(1);
    String state = matcher.group(2);
    if (level.equals("none")) {
      checkArgument(state == null, ACCEPTED);
      return new Mapped(null, null);
    }
    return new Mapped(
        PageLevel.valueOf("LEVEL_" + level), state == null ? null : state.equals("pending"));
  }

  @Override
  @JsonValue
  public String toString() {
    if (level == null) {
      return "none";
    }
    String size = level.name().substring("LEVEL_".length());
    return isPending == null ? size : size + (isPending ? " pending" : " accepted");
  }
}
