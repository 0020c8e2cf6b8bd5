package dev.septum.lab.scenario;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyDescription;
import com.google.common.base.CaseFormat;
import com.google.common.collect.ImmutableMap;
import dev.septum.kvm.Errno;
import dev.septum.tdx.module.SeamcallLeaf;
import java.lang.reflect.Field;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** The reference of the language as Markdown, made of the records that files are read into. */
public final class ScenarioReference {

  private static final String DEFAULT = "Default: ";

  /** What values are called; see the table of values. */
  private static final ImmutableMap<Class<?>, String> VALUES =
      ImmutableMap.<Class<?>, String>builder()
          .put(Bytes.class, "bytes")
          .put(ByteRange.class, "range")
          .put(Amount.class, "amount")
          .put(Mapped.class, "mapping")
          .put(Returns.class, "results")
          .put(String.class, "text")
          .put(Integer.class, "number")
          .put(Long.class, "number")
          .put(Boolean.class, "true, false")
          .put(SeamcallLeaf.class, "SEAMCALL")
          .put(HostSetup.class, "[host](#host)")
          .put(FileSetup.class, "[file](#file)")
          .put(VmSetup.class, "[VM](#vm)")
          .put(SlotSetup.class, "[slot](#slot)")
          .put(Phase.class, "[phase](#phase)")
          .put(Step.class, "[step](#step)")
          .put(Injection.class, "[injection](#injection)")
          .put(Expectation.class, "[expectation](#expectation)")
          .buildOrThrow();

  private ScenarioReference() {}

  /** The reference as Markdown. */
  public static String text() {
    StringBuilder text = new StringBuilder();
    table(text, "### Scenario", Scenario.class);
    table(text, "### Host", HostSetup.class);
    table(text, "### File", FileSetup.class);
    table(text, "### VM", VmSetup.class);
    table(text, "### Slot", SlotSetup.class);
    table(text, "### Phase", Phase.class);
    steps(text);
    table(text, "### Injection", Injection.class);
    table(text, "### Expectation", Expectation.class);
    values(text);
    return text.toString();
  }

  private static void table(StringBuilder text, String heading, Class<?> type) {
    text.append(heading).append("\n\n");
    text.append("| key | value | default | |\n|---|---|---|---|\n");
    for (RecordComponent component : type.getRecordComponents()) {
      row(text, component);
    }
    text.append('\n');
  }

  private static void row(StringBuilder text, RecordComponent component) {
    String about = about(component);
    int at = about.indexOf(DEFAULT);
    String meaning = at < 0 ? about : about.substring(0, at).trim();
    String standard = at < 0 ? "" : about.substring(at + DEFAULT.length()).replaceFirst("\\.$", "");
    text.append(
        "| `%s` | %s | %s | %s |\n"
            .formatted(
                key(component),
                typeOf(component.getGenericType()),
                isRequired(component) ? "*needed*" : standard,
                meaning));
  }

  private static void steps(StringBuilder text) {
    text.append("### Step\n\nA step has one of these keys:\n\n");
    text.append("| key | value | who | beside it | |\n|---|---|---|---|---|\n");
    for (Verb verb : Verb.ALL) {
      RecordComponent component = component(verb.key());
      text.append(
          "| `%s` | %s | %s | %s | %s |\n"
              .formatted(
                  verb.key(),
                  typeOf(component.getGenericType()),
                  verb.subject().text(),
                  verb.modifiers().stream()
                      .map(key -> "`" + key + "`")
                      .collect(Collectors.joining(", ")),
                  about(component)));
    }
    text.append("\nand some of these:\n\n| key | value | default | |\n|---|---|---|---|\n");
    List<String> verbs = Verb.ALL.stream().map(Verb::key).toList();
    for (RecordComponent component : Step.class.getRecordComponents()) {
      if (!verbs.contains(key(component))) {
        row(text, component);
      }
    }
    text.append('\n');
  }

  private static void values(StringBuilder text) {
    text.append("### Values\n\n| value | |\n|---|---|\n");
    Map<String, String> values =
        ImmutableMap.<String, String>builder()
            .put("bytes", Bytes.ACCEPTED)
            .put("range", ByteRange.ACCEPTED)
            .put("amount", Amount.ACCEPTED)
            .put("mapping", Mapped.ACCEPTED)
            .put("results", Returns.ACCEPTED)
            .put(
                "errno",
                names(
                    Arrays.stream(Errno.values())
                        .filter(e -> e.isError() && e != Errno.ONE)
                        .toArray()))
            .put("lock", names(Injection.LockName.values()))
            .put("SEAMCALL", names(SeamcallLeaf.values()))
            .put("owner", String.join(", ", Counters.OWNERS))
            .put("allocation", String.join(", ", Counters.ALLOCATIONS))
            .buildOrThrow();
    values.forEach((name, accepted) -> text.append("| %s | %s |\n".formatted(name, accepted)));
    text.append("\n### Counters\n\n| whose | |\n|---|---|\n");
    text.append("| every VM | %s |\n".formatted(String.join(", ", Counters.OF_VMS)));
    text.append("| a TD | %s |\n".formatted(String.join(", ", Counters.OF_TDS)));
    text.append("| the host | %s |\n".formatted(String.join(", ", Counters.OF_THE_HOST)));
  }

  // What the records say of themselves.

  private static RecordComponent component(String key) {
    return Arrays.stream(Step.class.getRecordComponents())
        .filter(component -> key(component).equals(key))
        .findFirst()
        .orElseThrow();
  }

  private static String key(RecordComponent component) {
    JsonProperty told = field(component).getAnnotation(JsonProperty.class);
    return told != null && !told.value().isEmpty()
        ? told.value()
        : CaseFormat.LOWER_CAMEL.to(CaseFormat.LOWER_HYPHEN, component.getName());
  }

  private static boolean isRequired(RecordComponent component) {
    JsonProperty told = field(component).getAnnotation(JsonProperty.class);
    return told != null && told.required();
  }

  private static String about(RecordComponent component) {
    JsonPropertyDescription about = field(component).getAnnotation(JsonPropertyDescription.class);
    if (about == null) {
      throw new IllegalStateException(component + " is not described");
    }
    return about.value();
  }

  /** Annotations for Jackson are on the field behind a component. */
  private static Field field(RecordComponent component) {
    try {
      return component.getDeclaringRecord().getDeclaredField(component.getName());
    } catch (NoSuchFieldException e) {
      throw new IllegalStateException("a component has a field", e);
    }
  }

  private static String typeOf(Type type) {
    if (type instanceof ParameterizedType generic) {
      Type[] arguments = generic.getActualTypeArguments();
      return generic.getRawType() == List.class
          ? typeOf(arguments[0]) + ", or a list"
          : "mapping from %s to %s".formatted(typeOf(arguments[0]), typeOf(arguments[1]));
    }
    Class<?> value = (Class<?>) type;
    String name = VALUES.get(value);
    if (name != null) {
      return name;
    }
    if (!value.isEnum()) {
      throw new IllegalStateException(value + " has no name in the reference");
    }
    return names(value.getEnumConstants());
  }

  private static String names(Object[] constants) {
    return Arrays.stream(constants).map(ScenarioReader::nameOf).collect(Collectors.joining(", "));
  }
}
