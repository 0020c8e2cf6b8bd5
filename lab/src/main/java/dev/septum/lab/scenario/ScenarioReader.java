package dev.septum.lab.scenario;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonParseException;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.exc.InputCoercionException;
import com.fasterxml.jackson.databind.DeserializationContext;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.KeyDeserializer;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.cfg.CoercionAction;
import com.fasterxml.jackson.databind.cfg.CoercionInputShape;
import com.fasterxml.jackson.databind.deser.std.StdDeserializer;
import com.fasterxml.jackson.databind.exc.InvalidFormatException;
import com.fasterxml.jackson.databind.exc.MismatchedInputException;
import com.fasterxml.jackson.databind.exc.UnrecognizedPropertyException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.module.SimpleModule;
import com.fasterxml.jackson.databind.type.LogicalType;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import com.fasterxml.jackson.dataformat.yaml.YAMLParser;
import com.google.common.base.CaseFormat;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.yaml.snakeyaml.error.MarkedYAMLException;

/** Reads scenario files. What is wrong with one is a single sentence with its line and key. */
public final class ScenarioReader {

  private static final int MAX_BYTES = 1 << 20;

  private static final YAMLFactory YAML =
      YAMLFactory.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build();

  private static final JsonMapper MAPPER =
      JsonMapper.builder(YAML)
          .propertyNamingStrategy(PropertyNamingStrategies.KEBAB_CASE)
          .enable(DeserializationFeature.ACCEPT_SINGLE_VALUE_AS_ARRAY)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY)
          .disable(DeserializationFeature.ACCEPT_FLOAT_AS_INT)
          .withCoercionConfig(
              LogicalType.Boolean,
              config -> config.setCoercion(CoercionInputShape.Integer, CoercionAction.Fail))
          .addModule(
              new SimpleModule("septum")
                  .addDeserializer(
                      Bytes.class, new Text<>(Bytes.class, Bytes::parse, Bytes.ACCEPTED))
                  .addDeserializer(
                      ByteRange.class,
                      new Text<>(ByteRange.class, ByteRange::parse, ByteRange.ACCEPTED))
                  .addDeserializer(
                      Amount.class, new Text<>(Amount.class, Amount::parse, Amount.ACCEPTED))
                  .addDeserializer(
                      Mapped.class, new Text<>(Mapped.class, Mapped::parse, Mapped.ACCEPTED))
                  .addDeserializer(Returns.class, new ReturnsDeserializer())
                  .addKeyDeserializer(ByteRange.class, new RangeKey()))
          .build();

  private ScenarioReader() {}

  /**
   * Reads and checks a file.
   *
   * @param backends that it may name
   * @throws ScenarioException if it is no scenario; the message says where and why
   */
  public static ScenarioFile read(Path file, Set<String> backends) throws ScenarioException {
    return read(file.toString(), textOf(file, MAX_BYTES), backends);
  }

  /**
   * Reads a file that a user named.
   *
   * @throws ScenarioException if it is no text of that length; the message says why
   */
  public static String textOf(Path file, long maxBytes) throws ScenarioException {
    try {
      if (Files.isRegularFile(file) && Files.size(file) > maxBytes) {
        throw new ScenarioException("%s: longer than %d bytes".formatted(file, maxBytes));
      }
      return Files.readString(file, UTF_8);
    } catch (NoSuchFileException e) {
      throw new ScenarioException("%s: there is no such file".formatted(file));
    } catch (CharacterCodingException e) {
      throw new ScenarioException("%s: not UTF-8 text".formatted(file));
    } catch (IOException e) {
      throw new ScenarioException("%s: cannot be read: %s".formatted(file, e.getMessage()));
    }
  }

  /** Reads and checks files, all of them or none. */
  public static ImmutableList<ScenarioFile> readAll(List<Path> files, Set<String> backends)
      throws ScenarioException {
    ImmutableList.Builder<ScenarioFile> all = ImmutableList.builder();
    for (Path file : files) {
      all.add(read(file, backends));
    }
    return all.build();
  }

  /** The same of a text; {@code name} stands for the file. */
  public static ScenarioFile read(String name, String text, Set<String> backends)
      throws ScenarioException {
    Lines lines;
    try (YAMLParser parser = YAML.createParser(text)) {
      lines = Lines.of(name, parser);
      Scenario scenario = MAPPER.readValue(text, Scenario.class);
      ScenarioFile file = new ScenarioFile(name, text, scenario, lines);
      new ScenarioCheck(file, backends).run();
      return file;
    } catch (JsonMappingException e) {
      throw new ScenarioException(sentence(name, e));
    } catch (JsonProcessingException e) {
      throw new ScenarioException(syntax(name, e));
    } catch (IOException e) {
      throw new ScenarioException("%s: cannot be read: %s".formatted(name, e.getMessage()));
    }
  }

  // What went wrong, in our words.

  private static String sentence(String name, JsonMappingException e) {
    String where = at(name, e.getLocation()) + ": " + path(e);
    if (e instanceof UnrecognizedPropertyException unknown) {
      return where + ": " + unknownKey(unknown);
    }
    if (e instanceof InvalidFormatException format) {
      return "%s: \"%s\" is not accepted; accepted: %s"
          .formatted(where, format.getValue(), acceptedBy(format));
    }
    if (e.getCause() instanceof InputCoercionException
        || e.getCause() instanceof JsonParseException) {
      return where + ": a whole number is expected here";
    }
    if (e instanceof MismatchedInputException mismatch) {
      return where + ": " + mismatch(mismatch);
    }
    return where + ": " + firstLine(e.getOriginalMessage());
  }

  private static String syntax(String name, JsonProcessingException e) {
    if (e.getCause() instanceof MarkedYAMLException yaml && yaml.getProblemMark() != null) {
      return "%s:%d: no YAML: %s"
          .formatted(name, yaml.getProblemMark().getLine() + 1, yaml.getProblem());
    }
    return "%s: no YAML: %s"
        .formatted(at(name, e.getLocation()), firstLine(e.getOriginalMessage()));
  }

  private static String unknownKey(UnrecognizedPropertyException e) {
    Collection<Object> ids = e.getKnownPropertyIds();
    List<String> known =
        ids == null ? List.of() : ids.stream().map(String::valueOf).sorted().toList();
    String name = e.getPropertyName();
    return UnknownKey.notModelled(name)
        .orElseGet(
            () ->
                "there is no such key%s; accepted: %s"
                    .formatted(
                        UnknownKey.nearest(name, known)
                            .map(key -> ", did you mean " + key + "?")
                            .orElse(""),
                        String.join(", ", known)));
  }

  private static String mismatch(MismatchedInputException e) {
    String text = String.valueOf(e.getOriginalMessage());
    if (text.startsWith("Missing required creator property")) {
      return "the key " + text.split("'", -1)[1] + " is missing";
    }
    Class<?> type = e.getTargetType();
    if (type != null && type.isRecord()) {
      return "a mapping is expected here, with keys of " + sorted(keysOf(type));
    }
    if (type != null && Collection.class.isAssignableFrom(type)) {
      return "a list is expected here";
    }
    if (type != null && java.util.Map.class.isAssignableFrom(type)) {
      return "a mapping is expected here";
    }
    return "a %s is expected here".formatted(type == null ? "value" : nameOf(type));
  }

  private static String nameOf(Class<?> type) {
    if (type == Boolean.class || type == boolean.class) {
      return "true or false";
    }
    return type == String.class ? "text" : "number";
  }

  private static String acceptedBy(InvalidFormatException e) {
    Class<?> type = e.getTargetType();
    if (type.isEnum()) {
      return Arrays.stream(type.getEnumConstants())
          .map(ScenarioReader::nameOf)
          .collect(Collectors.joining(", "));
    }
    if (type == Boolean.class) {
      return "true, false";
    }
    if (type == Integer.class || type == Long.class) {
      return "a whole number";
    }
    return String.valueOf(e.getOriginalMessage());
  }

  /** The name of an enum's constant in files. */
  static String nameOf(Object constant) {
    return MAPPER.convertValue(constant, String.class);
  }

  private static Collection<Object> keysOf(Class<?> type) {
    return Arrays.stream(type.getRecordComponents())
        .map(c -> (Object) CaseFormat.LOWER_CAMEL.to(CaseFormat.LOWER_HYPHEN, c.getName()))
        .toList();
  }

  private static String sorted(Collection<Object> keys) {
    return keys.stream().map(String::valueOf).sorted().collect(Collectors.joining(", "));
  }

  private static String path(JsonMappingException e) {
    StringBuilder text = new StringBuilder();
    for (JsonMappingException.Reference reference : e.getPath()) {
      if (reference.getFieldName() == null) {
        text.append('[').append(reference.getIndex()).append(']');
      } else {
        text.append(text.length() == 0 ? "" : ".").append(reference.getFieldName());
      }
    }
    return text.length() == 0 ? "the file" : text.toString();
  }

  private static String at(String name, @Nullable JsonLocation location) {
    return location == null ? name : name + ":" + location.getLineNr();
  }

  private static String firstLine(@Nullable String text) {
    return String.valueOf(text).lines().findFirst().orElse("").trim();
  }

  // Values that are texts with a meaning.

  /** A value that is written as one text. */
  private static final class Text<T> extends StdDeserializer<T> {
    private static final long serialVersionUID = 1L;

    private final transient Function<String, T> parse;
    private final String accepted;

    Text(Class<T> type, Function<String, T> parse, String accepted) {
      super(type);
      this.parse = parse;
      this.accepted = accepted;
    }

    @Override
    public T deserialize(JsonParser parser, DeserializationContext context) throws IOException {
      String text = parser.currentToken().isScalarValue() ? parser.getText() : "";
      try {
        return parse.apply(text);
      } catch (IllegalArgumentException e) {
        String given = parser.currentToken().isScalarValue() ? text : "a list or mapping";
        throw InvalidFormatException.from(parser, accepted, given, handledType());
      }
    }
  }

  /** A range as a key. */
  private static final class RangeKey extends KeyDeserializer {
    @Override
    public Object deserializeKey(String key, DeserializationContext context) throws IOException {
      try {
        return ByteRange.parse(key);
      } catch (IllegalArgumentException e) {
        throw InvalidFormatException.from(
            context.getParser(), ByteRange.ACCEPTED, key, ByteRange.class);
      }
    }
  }

  /** One result, a list of results, or either by backend. */
  private static final class ReturnsDeserializer extends StdDeserializer<Returns> {
    private static final long serialVersionUID = 1L;

    ReturnsDeserializer() {
      super(Returns.class);
    }

    @Override
    public Returns deserialize(JsonParser parser, DeserializationContext context)
        throws IOException {
      if (parser.currentToken() != JsonToken.START_OBJECT) {
        return Returns.of(results(parser));
      }
      ImmutableMap.Builder<String, ImmutableSet<String>> byBackend = ImmutableMap.builder();
      while (parser.nextToken() != JsonToken.END_OBJECT) {
        String backend = parser.currentName();
        parser.nextToken();
        byBackend.put(backend, results(parser));
      }
      return new Returns(byBackend.buildOrThrow());
    }

    private ImmutableSet<String> results(JsonParser parser) throws IOException {
      if (parser.currentToken() != JsonToken.START_ARRAY) {
        return ImmutableSet.of(result(parser));
      }
      ImmutableSet.Builder<String> results = ImmutableSet.builder();
      while (parser.nextToken() != JsonToken.END_ARRAY) {
        results.add(result(parser));
      }
      return results.build();
    }

    private String result(JsonParser parser) throws IOException {
      String text = parser.currentToken().isScalarValue() ? parser.getText() : "a list or mapping";
      try {
        return Returns.checked(text);
      } catch (IllegalArgumentException e) {
        throw InvalidFormatException.from(parser, Returns.ACCEPTED, text, Returns.class);
      }
    }
  }
}
