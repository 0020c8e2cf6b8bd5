package dev.septum.lab.conform;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.BufferedWriter;
import java.io.IOException;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Both sides of a comparison as text files, so that {@code diff} shows what differs. */
final class NormalisedTrace {

  private NormalisedTrace() {}

  /** Writes {@code recorded.txt} and {@code septum.txt} into the recording's folder. */
  static void write(Path folder, Recording recording, List<OpOutcome> outcomes) throws IOException {
    Path own = Files.createDirectories(folder.resolve(recording.name()));
    Normaliser recorded = Normaliser.ofRecording(recording.header());
    Normaliser emulated = recorded.ofReplay();
    try (BufferedWriter left = Files.newBufferedWriter(own.resolve("recorded.txt"), UTF_8);
        BufferedWriter right = Files.newBufferedWriter(own.resolve("septum.txt"), UTF_8)) {
      for (RecordedOp op : recording.ops()) {
        write(left, recorded.next(op, op.outcome()));
        write(right, emulated.next(op, outcomes.get(op.index())));
      }
    }
  }

  private static void write(Writer writer, NormalisedOp op) throws IOException {
    writer.write("# " + op.title() + "\n");
    for (NormalisedOp.Part part : op.parts()) {
      for (String line : part.lines()) {
        writer.write(line + "\n");
      }
    }
  }
}
