package dev.septum.lab.scenario;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import com.networknt.schema.JsonSchema;
import com.networknt.schema.JsonSchemaFactory;
import com.networknt.schema.SpecVersion;
import com.networknt.schema.ValidationMessage;
import dev.septum.lab.TestBackends;
import dev.septum.lab.run.Examples;
import dev.septum.lab.run.RunReport;
import dev.septum.lab.run.RunText;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** docs/scenarios.md and docs/scenario.schema.json say what the language is. */
class ScenarioDocsTest {

  private static final Path DOCS = Path.of("..", "docs");
  private static final YAMLMapper YAML = new YAMLMapper();
  private static final Pattern BLOCK = Pattern.compile("```(\\w*)\\n(.*?)```", Pattern.DOTALL);

  static List<Path> examples() throws IOException {
    return Examples.all();
  }

  private static String doc() throws IOException {
    return Files.readString(DOCS.resolve("scenarios.md"));
  }

  private static Set<ValidationMessage> complaints(JsonNode scenario) {
    JsonSchema schema =
        JsonSchemaFactory.getInstance(SpecVersion.VersionFlag.V202012)
            .getSchema(ScenarioSchema.text());
    return schema.validate(scenario);
  }

  @Test
  void schema_isTheOneInTheDocs() throws Exception {
    assertThat(Files.readString(DOCS.resolve("scenario.schema.json")))
        .isEqualTo(ScenarioSchema.text());
  }

  @Test
  void reference_isTheOneInTheDocs() throws Exception {
    String doc = doc();
    assertThat(doc)
        .contains(
            "<!-- reference -->\n\n%s\n<!-- end of reference -->"
                .formatted(ScenarioReference.text()));
  }

  @Test
  void reference_hasEveryVerbAndModifier() {
    String reference = ScenarioReference.text();
    assertThat(Verb.ALL).allMatch(verb -> reference.contains("| `" + verb.key() + "` |"));
    assertThat(Verb.MODIFIERS.keySet()).allMatch(key -> reference.contains("| `" + key + "` |"));
  }

  @ParameterizedTest
  @MethodSource("examples")
  void schema_acceptsEveryExample_whichNamesIt(Path example) throws Exception {
    assertThat(complaints(YAML.readTree(example.toFile()))).isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "phases: | fases:",
        "accept: 2M+8K | acept: 2M+8K",
        "slot: 1, | ''",
        "placement: scattered | placement: here",
        "vcpu: 0 | vcpu: [0]",
        "nothing-else: true | nothing-else: 3",
      })
  void schema_refusesADamagedOne(String whole, String damaged) throws Exception {
    String text = Files.readString(Examples.DIRECTORY.resolve("accept_split.yaml"));
    String broken = text.replace(whole, damaged);
    assertThat(broken).isNotEqualTo(text);
    assertThat(complaints(YAML.readTree(broken))).isNotEmpty();
  }

  @Test
  void firstScenario_runs_andPrintsWhatIsBelowIt() throws Exception {
    List<String> blocks = new ArrayList<>();
    Matcher block = BLOCK.matcher(doc());
    while (block.find()) {
      blocks.add(block.group(2));
    }
    ScenarioFile file = TestBackends.read("first.yaml", blocks.get(0));
    for (String backend : file.backends()) {
      RunReport report = Examples.run(file, backend);
      assertThat(RunText.of(report)).isEqualTo(blocks.get(1).replace("tdx\n", backend + "\n"));
    }
    assertThat(complaints(YAML.readTree(blocks.get(0)))).isEmpty();
  }

  @Test
  void unknownKeys_areSuggestedOnlyIfThereAre() {
    // Words of others must lead to a key that a file can have.
    String reference = ScenarioReference.text();
    assertThat(UnknownKey.meanings()).allMatch(key -> reference.contains("| `" + key + "` |"));
  }
}
