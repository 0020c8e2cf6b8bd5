package dev.septum.lab.scenario;

import static com.google.common.base.Preconditions.checkArgument;

import com.fasterxml.jackson.annotation.JsonValue;
import dev.septum.kvm.GfnRange;
import java.util.List;

/** Bytes {@code start} up to {@code end}, which is not in it. */
public record ByteRange(long start, long end) {

  static final String ACCEPTED =
      "a range START..END or START+SIZE that is not empty, such as 0x200000..0x400000 or 2M+64K";

  /** Whether a text is a range. */
  static boolean isRange(String text) {
    try {
      parse(text);
      return true;
    } catch (IllegalArgumentException e) {
      return false;
    }
  }

  /** Reads {@code START..END} or {@code START+SIZE}. */
  public static ByteRange parse(String text) {
    boolean isSize = text.contains("+");
    List<String> parts = List.of(text.trim().split(isSize ? "\\s*\\+\\s*" : "\\s*\\.\\.\\s*", -1));
    checkArgument(parts.size() == 2, ACCEPTED);
    long first = Bytes.parse(parts.get(0)).value();
    long second = Bytes.parse(parts.get(1)).value();
    long end = isSize ? first + second : second;
    checkArgument(end > first, ACCEPTED);
    return new ByteRange(first, end);
  }

  /** Whether it begins and ends with 4 KiB pages. */
  public boolean isPages() {
    return (start | end) % 4096 == 0;
  }

  /** The range's 4 KiB frames. */
  public GfnRange frames() {
    return new GfnRange(start >>> 12, end >>> 12);
  }

  /** Bytes in the range. */
  public long size() {
    return end - start;
  }

  @Override
  @JsonValue
  public String toString() {
    return "0x%x..0x%x".formatted(start, end);
  }
}
