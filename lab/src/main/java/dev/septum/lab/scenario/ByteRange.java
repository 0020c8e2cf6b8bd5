package dev.septum.lab.scenario;

import static com.google.common.base.Preconditions.checkArgument;

import com.fasterxml.jackson.annotation.JsonValue;
import dev.septum.kvm.GfnRange;
import java.util.List;

/** Bytes {@code start} up to {@code end}, which is not in it. */
public record ByteRange(long start, long end) {

  static final String ACCEPTED =
      "a range START..END or START+SIZE, such as 0x200000..0x400000 or 2M+64K";

  /** Reads {@code START..END} or {@code START+SIZE}. */
  public static ByteRange parse(String text) {
    boolean isSize = text.contains("+");
    List<String> parts = List.of(text.trim().split(isSize ? "\\s*\\+\\s*" : "\\s*\\.\\.\\s*", -1));
    checkArgument(parts.size() == 2, ACCEPTED);
    long first;
    long second;
    try {
      first = Bytes.parse(parts.get(0)).value();
      second = Bytes.parse(parts.get(1)).value();
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(ACCEPTED + ", in multiples of 4K", e);
    }
    long end = isSize ? first + second : second;
    checkArgument(end > first, ACCEPTED + ", not empty");
    return new ByteRange(first, end);
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
