package dev.septum.lab;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** A size as users write it, in bytes: {@code 512M}, {@code 20G}, {@code 1TiB}, or plain bytes. */
record MemorySize(long bytes) {

  private static final Pattern FORM = Pattern.compile("(\\d{1,15})(?:([KMGT])(?:i?B)?)?");
  private static final String UNITS = "KMGT";

  /** Reads a size from the command line. */
  static final class Converter implements ITypeConverter<MemorySize> {
    @Override
    public MemorySize convert(String value) {
      Matcher form = FORM.matcher(value);
      if (!form.matches()) {
        throw new TypeConversionException(
            "'%s' is not a size such as 512M or 20G".formatted(value));
      }
      int shift = form.group(2) == null ? 0 : 10 * (UNITS.indexOf(form.group(2)) + 1);
      long number = Long.parseLong(form.group(1));
      if (number == 0 || number > Long.MAX_VALUE >> shift >> 1) {
        throw new TypeConversionException("'%s' is out of range".formatted(value));
      }
      return new MemorySize(number << shift);
    }
  }

  /** Bytes as a report prints them. */
  static String text(long bytes) {
    return "%.2f GiB".formatted(bytes / (double) (1L << 30));
  }
}
