package dev.septum.lab.conform;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import dev.septum.kvm.PageLevel;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Reads the files of one recording. */
final class RecordingReader {

  private static final Pattern VCPU_DELTA = Pattern.compile("vcpu(\\d{1,4})_delta");
  private static final Pattern FILTER = Pattern.compile("level > ([1-4])");
  private static final Pattern ROOT_PAGE = Pattern.compile("\\bgfn 0 l([45]) ");

  private static final JsonMapper JSON = JsonMapper.builder().build();

  private final String name;

  /** How messages call the folder or .zip file. */
  private final String shown;

  private final Path folder;
  private final Map<String, Backing> backings = new HashMap<>();

  private RecordingReader(String name, String shown, Path folder) {
    this.name = name;
    this.shown = shown;
    this.folder = folder;
  }

  static Recording read(String name, Path path) throws RecordingException {
    try {
      if (!Recordings.isZip(path)) {
        return new RecordingReader(name, path.toString(), path).recording();
      }
      try (FileSystem zip = FileSystems.newFileSystem(path)) {
        return new RecordingReader(name, path.toString(), zip.getPath("/")).recording();
      }
    } catch (RecordingException e) {
      throw e;
    } catch (IOException e) {
      throw new RecordingException("%s: cannot be read: %s".formatted(path, e.getMessage()));
    }
  }

  private Recording recording() throws IOException {
    OpFields top = new OpFields(shown(Recordings.OPS), json());
    Map<Integer, TraceFile.Section> trace = trace();
    List<RecordedOp> ops = new ArrayList<>();
    for (OpFields fields : top.objects("ops")) {
      ops.add(op(ops.size(), fields, trace));
    }
    if (ops.isEmpty()) {
      throw new RecordingException(shown(Recordings.OPS) + " has no operations");
    }
    return new Recording(name, header(top, ops), ops);
  }

  private JsonNode json() throws IOException {
    try {
      return JSON.readTree(Files.readAllBytes(file(Recordings.OPS)));
    } catch (JsonProcessingException e) {
      throw new RecordingException(
          "%s:%d: %s"
              .formatted(
                  shown(Recordings.OPS), e.getLocation().getLineNr(), e.getOriginalMessage()));
    }
  }

  private Map<Integer, TraceFile.Section> trace() throws IOException {
    String file = "trace.txt";
    try (BufferedReader reader = Files.newBufferedReader(file(file), UTF_8)) {
      return TraceFile.read(reader, shown(file));
    } catch (CharacterCodingException e) {
      throw new RecordingException(shown(file) + ": is not text");
    }
  }

  private RecordedOp op(int index, OpFields fields, Map<Integer, TraceFile.Section> trace)
      throws IOException {
    if (fields.intValue("i") != index) {
      throw new RecordingException(
          "%s: op %d has the number %d"
              .formatted(shown(Recordings.OPS), index, fields.intValue("i")));
    }
    boolean isTraced = !fields.has("traced") || fields.flag("traced");
    TraceFile.Section section = trace.getOrDefault(index, TraceFile.Section.NONE);
    if (isTraced && !trace.containsKey(index)) {
      throw new RecordingException("%s: no op %d".formatted(shown("trace.txt"), index));
    }
    Optional<List<String>> dump =
        fields.has("pt") ? Optional.of(lines(fields.text("pt"))) : Optional.empty();
    return new RecordedOp(
        index,
        fields.text("op"),
        fields,
        fields.counters("vm_stats_before"),
        outcome(fields, section, dump),
        isTraced,
        section.before(),
        section.lines(),
        dump.isPresent() ? Optional.of(table(fields.text("pt"), dump.get())) : Optional.empty(),
        fields.has("backing") ? Optional.of(backing(fields.text("backing"))) : Optional.empty());
  }

  private static OpOutcome outcome(
      OpFields fields, TraceFile.Section section, Optional<List<String>> dump)
      throws RecordingException {
    ImmutableMap.Builder<Integer, Map<String, Long>> vcpuDeltas = ImmutableMap.builder();
    for (String key : fields.keys()) {
      Matcher vcpu = VCPU_DELTA.matcher(key);
      if (vcpu.matches()) {
        vcpuDeltas.put(Integer.parseInt(vcpu.group(1)), fields.counters(key));
      }
    }
    return new OpOutcome(
        fields.intValue("rc"),
        fields.intValue("errno"),
        section.lines().stream().map(TraceLine::toEvent).collect(ImmutableList.toImmutableList()),
        fields.counters("vm_stats_after"),
        vcpuDeltas.buildOrThrow(),
        fields.optionalPairs("dirty_ranges"),
        fields.optionalPairs("entries"),
        fields.has("mmio_exits")
            ? OptionalInt.of(fields.intValue("mmio_exits"))
            : OptionalInt.empty(),
        fields.has("last_mmio_gpa")
            ? OptionalLong.of(fields.longValue("last_mmio_gpa"))
            : OptionalLong.empty(),
        dump.map(lines -> String.join("\n", lines) + "\n"));
  }

  private TableSnapshot table(String file, List<String> lines) throws RecordingException {
    try {
      return TableSnapshot.parse(lines);
    } catch (IllegalArgumentException e) {
      throw new RecordingException("%s:%s".formatted(shown(file), e.getMessage()));
    }
  }

  private Backing backing(String file) throws IOException {
    Backing known = backings.get(file);
    if (known != null) {
      return known;
    }
    try {
      Backing backing = Backing.parse(lines(file));
      backings.put(file, backing);
      return backing;
    } catch (IllegalArgumentException e) {
      throw new RecordingException("%s:%s".formatted(shown(file), e.getMessage()));
    }
  }

  private List<String> lines(String file) throws IOException {
    try {
      return Files.readAllLines(file(file), UTF_8);
    } catch (CharacterCodingException e) {
      throw new RecordingException(shown(file) + ": is not text");
    }
  }

  private static Recording.Header header(OpFields top, List<RecordedOp> ops)
      throws RecordingException {
    return new Recording.Header(
        top.text("sequence"),
        top.text("description"),
        smallestLevel(top),
        yes(top, "eager_page_split"),
        yes(top, "nx_huge_pages"),
        rootLevel(ops),
        ops.stream().flatMap(op -> op.lines().stream()).anyMatch(TraceLine::isProbe));
  }

  private static PageLevel smallestLevel(OpFields top) throws RecordingException {
    String key = "spte_changed_filter";
    String filter = top.text(key);
    Matcher level = FILTER.matcher(filter);
    if (level.matches()) {
      return PageLevel.of(Integer.parseInt(level.group(1))).above();
    }
    if (filter.equals("none")) {
      return PageLevel.LEVEL_4K;
    }
    throw top.wrong(key, filter, "none or a level");
  }

  private static boolean yes(OpFields top, String key) throws RecordingException {
    return switch (top.text(key)) {
      case "Y" -> true;
      case "N", "never" -> false;
      default -> throw top.wrong(key, top.text(key), "Y or N");
    };
  }

  private static PageLevel rootLevel(List<RecordedOp> ops) {
    for (RecordedOp op : ops) {
      PageLevel level = op.table().orElse(TableSnapshot.EMPTY).rootLevel();
      if (level != PageLevel.NONE) {
        return level;
      }
    }
    return ops.stream()
        .flatMap(op -> op.outcome().events().stream())
        .filter(event -> event.name().equals(EventFormats.GET_PAGE))
        .map(event -> ROOT_PAGE.matcher(event.fields()))
        .filter(Matcher::find)
        .map(m -> PageLevel.of(Integer.parseInt(m.group(1))))
        .findFirst()
        .orElse(PageLevel.LEVEL_512G);
  }

  private Path file(String file) throws RecordingException {
    Path path = folder.resolve(file);
    if (!Files.isRegularFile(path)) {
      throw new RecordingException(shown(file) + ": no such file");
    }
    return path;
  }

  private String shown(String file) {
    return shown + "/" + file;
  }
}
