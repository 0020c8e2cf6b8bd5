package dev.septum.lab.scenario;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyDescription;

/** A guest_memfd of a scenario. */
public record FileSetup(
    @JsonProperty(required = true) @JsonPropertyDescription("The file's size.") Bytes size,
    @JsonPropertyDescription("The folios behind it: 2M where they can be had, or 4K. Default: 2M.")
        Level folios) {

  /** Fills in what the file leaves out. */
  public FileSetup {
    folios = folios == null ? Level.SIZE_2M : folios;
  }
}
