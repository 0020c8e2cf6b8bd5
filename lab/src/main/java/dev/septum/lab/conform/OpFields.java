package dev.septum.lab.conform;

import com.fasterxml.jackson.databind.JsonNode;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * An object of an {@code ops.json}, read by key and type.
 *
 * <p>Numbers may be JSON numbers or texts such as {@code "0x40000000"}.
 */
final class OpFields {

  private final String where;
  private final JsonNode node;

  /** The fields of an object; {@code where} is how messages call it. */
  OpFields(String where, JsonNode node) {
    this.where = where;
    this.node = node;
  }

  /** Whether there is such a field. */
  boolean has(String key) {
    return node.has(key);
  }

  /** The text of a field. */
  String text(String key) throws RecordingException {
    JsonNode value = required(key);
    if (!value.isTextual()) {
      throw wrong(key, value, "a text");
    }
    return value.textValue();
  }

  /** The truth of a field. */
  boolean flag(String key) throws RecordingException {
    JsonNode value = required(key);
    if (!value.isBoolean()) {
      throw wrong(key, value, "true or false");
    }
    return value.booleanValue();
  }

  /** The number in a field; hexadecimal texts have all 64 bits. */
  long longValue(String key) throws RecordingException {
    return number(key, required(key));
  }

  /** The number in a field that fits into 32 bits. */
  int intValue(String key) throws RecordingException {
    long value = longValue(key);
    if (value != (int) value) {
      throw wrong(key, required(key), "a number of 32 bits");
    }
    return (int) value;
  }

  /** The pairs of numbers in a field, such as {@code [[0,3],[513,1]]}. */
  ImmutableList<long[]> pairs(String key) throws RecordingException {
    ImmutableList.Builder<long[]> pairs = ImmutableList.builder();
    for (JsonNode pair : required(key)) {
      if (pair.size() != 2) {
        throw wrong(key, pair, "a pair of numbers");
      }
      pairs.add(new long[] {number(key, pair.get(0)), number(key, pair.get(1))});
    }
    return pairs.build();
  }

  /** The pairs of numbers in a field, if there is such a field. */
  Optional<List<long[]>> optionalPairs(String key) throws RecordingException {
    return has(key) ? Optional.of(pairs(key)) : Optional.empty();
  }

  /** The objects in a field; messages call them by their place and {@code op}. */
  ImmutableList<OpFields> objects(String key) throws RecordingException {
    ImmutableList.Builder<OpFields> objects = ImmutableList.builder();
    int index = 0;
    for (JsonNode object : required(key)) {
      String name = object.path("op").asText("");
      objects.add(new OpFields("%s: op %d %s".formatted(where, index++, name).strip(), object));
    }
    return objects.build();
  }

  /** The numbers by name in a field; none if the field is missing. */
  ImmutableMap<String, Long> counters(String key) throws RecordingException {
    ImmutableMap.Builder<String, Long> counters = ImmutableMap.builder();
    for (Map.Entry<String, JsonNode> counter : node.path(key).properties()) {
      counters.put(counter.getKey(), number(key, counter.getValue()));
    }
    return counters.buildOrThrow();
  }

  /** The names of all fields, in their order. */
  Iterable<String> keys() {
    return node::fieldNames;
  }

  private JsonNode required(String key) throws RecordingException {
    JsonNode value = node.get(key);
    if (value == null) {
      throw new RecordingException("%s has no '%s'".formatted(where, key));
    }
    return value;
  }

  private long number(String key, JsonNode value) throws RecordingException {
    if (value.canConvertToLong() && value.isIntegralNumber()) {
      return value.longValue();
    }
    String text = value.isTextual() ? value.textValue() : "";
    try {
      return text.startsWith("0x")
          ? Long.parseUnsignedLong(text.substring(2), 16)
          : Long.parseLong(text);
    } catch (NumberFormatException e) {
      throw wrong(key, value, "a number");
    }
  }

  private RecordingException wrong(String key, JsonNode value, String kind) {
    return wrong(key, value.toString(), kind);
  }

  /** The complaint that a field has no value of its kind. */
  RecordingException wrong(String key, String value, String kind) {
    return new RecordingException("%s: '%s' is %s, not %s".formatted(where, key, value, kind));
  }
}
