package dev.septum.lab.scenario;

import com.fasterxml.classmate.ResolvedType;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.github.victools.jsonschema.generator.CustomDefinition;
import com.github.victools.jsonschema.generator.FieldScope;
import com.github.victools.jsonschema.generator.Option;
import com.github.victools.jsonschema.generator.OptionPreset;
import com.github.victools.jsonschema.generator.SchemaGenerationContext;
import com.github.victools.jsonschema.generator.SchemaGenerator;
import com.github.victools.jsonschema.generator.SchemaGeneratorConfigBuilder;
import com.github.victools.jsonschema.generator.SchemaVersion;
import com.github.victools.jsonschema.module.jackson.JacksonModule;
import com.github.victools.jsonschema.module.jackson.JacksonOption;
import com.google.common.base.CaseFormat;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The JSON schema of scenario files, made of the records that they are read into. */
public final class ScenarioSchema {

  private static final String TITLE = "A Septum scenario";

  private ScenarioSchema() {}

  /** The schema as JSON text. */
  public static String text() {
    JsonMapper mapper =
        JsonMapper.builder().propertyNamingStrategy(PropertyNamingStrategies.KEBAB_CASE).build();
    SchemaGeneratorConfigBuilder config =
        new SchemaGeneratorConfigBuilder(
                mapper, SchemaVersion.DRAFT_2020_12, OptionPreset.PLAIN_JSON)
            .with(
                new JacksonModule(
                    JacksonOption.RESPECT_JSONPROPERTY_REQUIRED,
                    JacksonOption.RESPECT_JSONPROPERTY_ORDER,
                    JacksonOption.FLATTENED_ENUMS_FROM_JSONPROPERTY))
            .with(
                com.github.victools.jsonschema.generator.Option
                    .FORBIDDEN_ADDITIONAL_PROPERTIES_BY_DEFAULT)
            .with(Option.DEFINITIONS_FOR_ALL_OBJECTS);
    config.forFields().withPropertyNameOverrideResolver(ScenarioSchema::keyOf);
    config.forTypesInGeneral().withCustomDefinitionProvider(ScenarioSchema::define);
    ObjectNode schema = new SchemaGenerator(config.build()).generateSchema(Scenario.class);
    schema.put("title", TITLE);
    try {
      return mapper.writerWithDefaultPrettyPrinter().writeValueAsString(schema) + "\n";
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a schema is always JSON", e);
    }
  }

  /** The key in files, if Jackson is not told another one. */
  private static @Nullable String keyOf(FieldScope field) {
    JsonProperty told = field.getAnnotationConsideringFieldAndGetter(JsonProperty.class);
    return told != null && !told.value().isEmpty()
        ? null
        : CaseFormat.LOWER_CAMEL.to(CaseFormat.LOWER_HYPHEN, field.getDeclaredName());
  }

  /** Values that are written as texts, maps, and lists that may be one value. */
  private static @Nullable CustomDefinition define(
      ResolvedType type, SchemaGenerationContext context) {
    ObjectNode node = context.getGeneratorConfig().createObjectNode();
    Class<?> erased = type.getErasedType();
    String accepted = ACCEPTED.get(erased);
    if (accepted != null) {
      node.putArray("type").add("string").add("integer");
      node.put("description", accepted);
      return inline(node);
    }
    if (erased == String.class) {
      // A text may look like a number, such as the name of a vCPU.
      node.putArray("type").add("string").add("number").add("boolean");
      return inline(node);
    }
    if (erased == Returns.class) {
      node.putArray("type").add("string").add("integer").add("array").add("object");
      node.put("description", Returns.ACCEPTED);
      node.putObject("items").putArray("type").add("string").add("integer");
      node.putObject("additionalProperties")
          .putArray("type")
          .add("string")
          .add("integer")
          .add("array");
      return inline(node);
    }
    if (Map.class.isAssignableFrom(erased)) {
      node.put("type", "object");
      node.set(
          "additionalProperties",
          context.createDefinitionReference(type.typeParametersFor(Map.class).get(1)));
      return inline(node);
    }
    if (List.class.isAssignableFrom(erased)) {
      ResolvedType item = type.typeParametersFor(List.class).get(0);
      node.putArray("anyOf")
          .add(context.createDefinitionReference(item))
          .addObject()
          .put("type", "array")
          .set("items", context.createDefinitionReference(item));
      return inline(node);
    }
    return null;
  }

  private static CustomDefinition inline(ObjectNode node) {
    return new CustomDefinition(
        node, CustomDefinition.DefinitionType.INLINE, CustomDefinition.AttributeInclusion.YES);
  }

  private static final Map<Class<?>, String> ACCEPTED =
      Map.of(
          Bytes.class, Bytes.ACCEPTED,
          ByteRange.class, ByteRange.ACCEPTED,
          Amount.class, Amount.ACCEPTED,
          Mapped.class, Mapped.ACCEPTED);
}
