package dev.septum.lab.scenario;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.util.HashMap;
import java.util.Map;

/** On which line of a file each value is. Places are JSON pointers: {@code /phases/0/steps/2}. */
final class Lines {

  private final Map<String, Integer> lineOf = new HashMap<>();

  private Lines() {}

  /** Reads a document to its end. */
  static Lines of(JsonParser parser) throws IOException {
    Lines lines = new Lines();
    for (JsonToken token = parser.nextToken(); token != null; token = parser.nextToken()) {
      if (!token.isStructEnd()) {
        // A field is where its name is; what is in it is there at the latest.
        lines.lineOf.putIfAbsent(
            parser.getParsingContext().pathAsPointer().toString(),
            parser.currentTokenLocation().getLineNr());
      }
    }
    return lines;
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
}
