package dev.septum.lab.scenario;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.dataformat.yaml.YAMLParser;
import java.io.IOException;
import java.util.HashMap;
import java.util.Map;

/** On which line of a file each value is. Places are JSON pointers: {@code /phases/0/steps/2}. */
final class Lines {

  private final String file;
  private final Map<String, Integer> lineOf = new HashMap<>();

  private Lines(String file) {
    this.file = file;
  }

  /**
   * Reads a document to its end.
   *
   * @throws ScenarioException for what YAML has and scenarios have not
   */
  static Lines of(String file, YAMLParser parser) throws IOException, ScenarioException {
    Lines lines = new Lines(file);
    for (JsonToken token = parser.nextToken(); token != null; token = parser.nextToken()) {
      if (!token.isStructEnd()) {
        lines.add(parser);
      }
    }
    if (lines.lineOf.isEmpty()) {
      throw new ScenarioException("%s:1: the file is empty".formatted(file));
    }
    return lines;
  }

  private void add(YAMLParser parser) throws IOException, ScenarioException {
    String pointer = parser.getParsingContext().pathAsPointer().toString();
    int line = parser.currentTokenLocation().getLineNr();
    // A field is where its name is; what is in it is there at the latest.
    lineOf.putIfAbsent(pointer, line);
    refuse(
        parser.isCurrentAlias() || parser.getObjectId() != null,
        line,
        pointer,
        "anchors and aliases (&name, *name) are not read; write the value out");
    refuse(isMissing(parser), line, pointer, "a value is missing");
    if (parser.currentToken() == JsonToken.FIELD_NAME) {
      addRange(parser, pointer, line);
    }
  }

  /** A key without a value reads as an empty text. */
  private static boolean isMissing(YAMLParser parser) throws IOException {
    return parser.currentToken() == JsonToken.VALUE_NULL
        || (parser.currentToken() == JsonToken.VALUE_STRING && parser.getText().isEmpty());
  }

  /** A range as a key is found by the range as well, however it is written. */
  private void addRange(JsonParser parser, String pointer, int line) throws IOException {
    if (ByteRange.isRange(parser.currentName())) {
      String parent = pointer.substring(0, pointer.lastIndexOf('/') + 1);
      lineOf.putIfAbsent(parent + ByteRange.parse(parser.currentName()), line);
    }
  }

  private void refuse(boolean condition, int line, String pointer, String why)
      throws ScenarioException {
    if (condition) {
      throw new ScenarioException("%s:%d: %s: %s".formatted(file, line, text(pointer), why));
    }
  }

  /** The line of a place, or of the nearest one around it. */
  int of(String pointer) {
    for (String at = pointer; !at.isEmpty(); at = at.substring(0, at.lastIndexOf('/'))) {
      Integer line = lineOf.get(at);
      if (line != null) {
        return line;
      }
    }
    return 1;
  }

  /** A place as messages name it: {@code phases[0].steps[2]}. */
  static String text(String pointer) {
    return pointer.isEmpty()
        ? "the file"
        : pointer.substring(1).replaceAll("/(\\d+)(?=/|$)", "[$1]").replace('/', '.');
  }
}
