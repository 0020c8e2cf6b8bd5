package dev.septum.lab.scenario;

import com.fasterxml.jackson.annotation.JsonPropertyDescription;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A part of a scenario: steps one after the other, or actors that run at the same time. */
public record Phase(
    @JsonPropertyDescription("What happens, for the report.") @Nullable String name,
    @JsonPropertyDescription("Steps, one after the other.") @Nullable List<Step> steps,
    @JsonPropertyDescription(
            "Actors by name, each a thread with steps of its own; the phase ends when all are"
                + " through.")
        @Nullable Map<String, List<Step>> concurrently,
    @JsonPropertyDescription("How often the phase runs. Default: 1.") Integer repeat,
    @JsonPropertyDescription("What must hold when the phase is through.") List<Expectation> expect,
    @JsonPropertyDescription(
            "Whether septum sweep disturbs this phase. Default: the last phase only, unless another"
                + " one says true.")
        @Nullable Boolean sweep) {

  /** Fills in what the file leaves out. */
  public Phase {
    steps = steps == null ? null : ImmutableList.copyOf(steps);
    concurrently = concurrently == null ? null : ImmutableMap.copyOf(concurrently);
    repeat = repeat == null ? 1 : repeat;
    expect = expect == null ? ImmutableList.of() : ImmutableList.copyOf(expect);
  }
}
