package dev.septum.lab.conform;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.collect.ImmutableList;
import dev.septum.lab.report.JsonReport;
import java.util.List;
import java.util.OptionalInt;

/** The results of all recordings, as text and as JSON. */
public final class ConformReport {

  private static final String JSON_FORMAT = "septum-conform/1";

  private final ImmutableList<ConformResult> results;

  /** The report on results, in their order. */
  public ConformReport(List<ConformResult> results) {
    this.results = ImmutableList.copyOf(results);
  }

  /** Whether all recordings are equal. */
  public boolean isEqual() {
    return equal() == results.size();
  }

  private long equal() {
    return results.stream().filter(ConformResult::isEqual).count();
  }

  /** One line for each recording, and both sides of a difference; ends with a line feed. */
  public String text() {
    int width = results.stream().mapToInt(r -> r.name().length()).max().orElse(0);
    StringBuilder text = new StringBuilder();
    for (ConformResult result : results) {
      text.append(result.name()).append(" ".repeat(width - result.name().length()));
      text.append(result.isEqual() ? "  equal    " + size(result) + "\n" : findings(result));
    }
    return text.append("%d of %d recordings are equal\n".formatted(equal(), results.size()))
        .toString();
  }

  private static String size(ConformResult result) {
    String size = "%d ops, %d events".formatted(result.ops(), result.events());
    return result.races() == 0 ? size : size + ", race runs: %d".formatted(result.races());
  }

  private static String findings(ConformResult result) {
    StringBuilder text = new StringBuilder("  DIFFERS  ");
    result.difference().ifPresent(difference -> text.append(text(difference)));
    if (result.difference().isEmpty()) {
      text.append(size(result)).append('\n');
    }
    result.violations().forEach(violation -> text.append("  ").append(violation).append('\n'));
    return text.toString();
  }

  private static String text(Difference difference) {
    StringBuilder text = new StringBuilder();
    text.append(
        "at op %d %s, %s%s\n"
            .formatted(
                difference.op(),
                difference.opName(),
                difference.what(),
                traceLine(difference.traceLine())));
    difference.context().forEach(line -> text.append("  both      %s\n".formatted(line)));
    text.append("  recorded  %s\n".formatted(difference.recorded()));
    text.append("  septum    %s\n".formatted(difference.emulated()));
    return text.toString();
  }

  private static String traceLine(OptionalInt line) {
    return line.isPresent() ? " (trace.txt:%d)".formatted(line.getAsInt()) : "";
  }

  /** The report as an object; ends with a line feed. */
  public String json() {
    ObjectNode root = JsonNodeFactory.instance.objectNode();
    root.put("format", JSON_FORMAT);
    root.put("recordings", results.size());
    root.put("equal", equal());
    var array = root.putArray("results");
    results.forEach(result -> fill(array.addObject(), result));
    return JsonReport.of(root);
  }

  private static void fill(ObjectNode node, ConformResult result) {
    node.put("name", result.name());
    node.put("equal", result.isEqual());
    node.put("ops", result.ops());
    node.put("events", result.events());
    node.put("races", result.races());
    result.difference().ifPresent(difference -> fill(node.putObject("difference"), difference));
    if (!result.violations().isEmpty()) {
      result.violations().forEach(node.putArray("violations")::add);
    }
  }

  private static void fill(ObjectNode node, Difference difference) {
    node.put("op", difference.op());
    node.put("opName", difference.opName());
    node.put("what", difference.what());
    node.put("recorded", difference.recorded());
    node.put("emulated", difference.emulated());
    difference.traceLine().ifPresent(line -> node.put("traceLine", line));
    difference.context().forEach(node.putArray("context")::add);
  }
}
