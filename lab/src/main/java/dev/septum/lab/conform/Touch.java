package dev.septum.lab.conform;

import dev.septum.mmu.AccessKind;

/**
 * What the recorded guest program does once: {@code count} accesses, {@code stride} bytes apart.
 *
 * @param gpa the first address, in bytes
 */
record Touch(AccessKind kind, long gpa, long count, long stride) {

  static Touch of(OpFields fields) throws RecordingException {
    return new Touch(
        kind(fields),
        fields.longValue("gpa"),
        fields.longValue("count"),
        fields.longValue("stride"));
  }

  private static AccessKind kind(OpFields fields) throws RecordingException {
    return switch (fields.text("kind")) {
      case "r" -> AccessKind.READ;
      case "w" -> AccessKind.WRITE;
      case "x" -> AccessKind.EXEC;
      default -> throw fields.wrong("kind", fields.text("kind"), "r, w or x");
    };
  }
}
