package dev.septum.lab.sweep;

import com.google.common.base.Splitter;
import com.google.common.collect.ImmutableList;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * What is disturbed in one run of a flow; in text {@code pamt_cache#3=fail,TDH_MEM_TRACK#1=busy}.
 */
record Plan(ImmutableList<Disturbance> disturbances) {

  /** A point, and how the flow is disturbed there. */
  record Disturbance(Point point, Mode mode) {
    /** Whether a call of the place is disturbed by this. */
    boolean concerns(String place, int number) {
      return point.place().equals(place)
          && number >= point.number()
          && number < point.number() + mode.calls();
    }

    @Override
    public String toString() {
      return point + "=" + mode;
    }
  }

  /** Nothing is disturbed. */
  static final Plan NONE = new Plan(ImmutableList.of());

  private static final Pattern TEXT = Pattern.compile("([A-Za-z_]+)#([1-9]\\d{0,8})=([a-z-]+)");

  static Plan of(Disturbance... disturbances) {
    return new Plan(ImmutableList.copyOf(disturbances));
  }

  /** This and one disturbance more. */
  Plan and(Disturbance more) {
    return new Plan(
        Stream.concat(disturbances.stream(), Stream.of(more))
            .collect(ImmutableList.toImmutableList()));
  }

  /** Whether anything is disturbed at a place. */
  boolean disturbs(String place) {
    return disturbances.stream().anyMatch(d -> d.point().place().equals(place));
  }

  /** Reads a plan; what is wrong with it is in the exception's text. */
  static Plan parse(String text) {
    ImmutableList.Builder<Disturbance> all = ImmutableList.builder();
    for (String part : Splitter.on(',').split(text)) {
      Matcher matcher = TEXT.matcher(part.trim());
      if (!matcher.matches()) {
        throw new IllegalArgumentException(
            "\"%s\" is no PLACE#NUMBER=MODE, such as pamt_cache#3=fail".formatted(part));
      }
      String place = matcher.group(1);
      Mode mode =
          Arrays.stream(Mode.values())
              .filter(m -> m.toString().equals(matcher.group(3)) && Mode.of(place).contains(m))
              .findFirst()
              .orElseThrow(
                  () ->
                      new IllegalArgumentException(
                          "%s cannot be disturbed by \"%s\"; accepted: %s"
                              .formatted(place, matcher.group(3), Mode.of(place))));
      all.add(new Disturbance(new Point(place, Integer.parseInt(matcher.group(2))), mode));
    }
    return new Plan(all.build());
  }

  @Override
  public String toString() {
    return disturbances.stream().map(Disturbance::toString).collect(Collectors.joining(","));
  }
}
