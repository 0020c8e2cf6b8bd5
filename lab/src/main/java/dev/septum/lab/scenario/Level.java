package dev.septum.lab.scenario;

import com.fasterxml.jackson.annotation.JsonProperty;
import dev.septum.kvm.PageLevel;

/** The size of a page, a folio or a mapping. */
public enum Level {
  /** 4 KiB. */
  @JsonProperty("4K")
  SIZE_4K(PageLevel.LEVEL_4K),
  /** 2 MiB. */
  @JsonProperty("2M")
  SIZE_2M(PageLevel.LEVEL_2M),
  /** 1 GiB. */
  @JsonProperty("1G")
  SIZE_1G(PageLevel.LEVEL_1G);

  private final PageLevel pageLevel;

  Level(PageLevel pageLevel) {
    this.pageLevel = pageLevel;
  }

  /** KVM's level. */
  public PageLevel pageLevel() {
    return pageLevel;
  }

  @Override
  public String toString() {
    return name().substring("SIZE_".length());
  }
}
