package dev.septum.lab;

/** How much of one MapGPA request KVM hands to user space at a time. */
public enum MapGpaChunk {
  /** 2 MiB from the guest's address on, not rounded ({@code TDX_MAP_GPA_MAX_LEN}). */
  CHUNK_2M("2M"),
  /** The whole request. */
  WHOLE("whole");

  private final String text;

  MapGpaChunk(String text) {
    this.text = text;
  }

  /** The value as the command line and reports have it. */
  @Override
  public String toString() {
    return text;
  }
}
