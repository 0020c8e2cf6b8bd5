package dev.septum.lab.scenario;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.Locale;

/** What memory can be converted to. */
public enum Kind {
  /** Memory that the host sees. */
  @JsonProperty("shared")
  SHARED,
  /** Memory that only the guest sees. */
  @JsonProperty("private")
  PRIVATE;

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
