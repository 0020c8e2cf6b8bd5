package dev.septum.lab.conform;

/** The fields of an event whose text is made of keys, each followed by its value. */
record EventFields(Event event) {

  /** The hexadecimal value behind a key, with or without 0x. */
  long hex(String key) {
    int start = valueStart(key);
    try {
      return Long.parseUnsignedLong(text(), start, valueEnd(start), 16);
    } catch (NumberFormatException e) {
      throw noNumber(key, e);
    }
  }

  /** The decimal value behind a key. */
  int number(String key) {
    int start = valueStart(key);
    try {
      return Integer.parseInt(text(), start, valueEnd(start), 10);
    } catch (NumberFormatException e) {
      throw noNumber(key, e);
    }
  }

  /** The gfn, which most events have. */
  long gfn() {
    return hex("gfn");
  }

  /** The fields with another hexadecimal value behind a key. */
  EventFields withHex(String key, long value) {
    if (hex(key) == value) {
      return this;
    }
    int start = valueStart(key);
    String changed =
        text().substring(0, start) + Long.toHexString(value) + text().substring(valueEnd(start));
    return new EventFields(new Event(event.name(), changed));
  }

  private String text() {
    return event.fields();
  }

  private int valueStart(String key) {
    for (int at = text().indexOf(key); at >= 0; at = text().indexOf(key, at + 1)) {
      int start = at + key.length() + 1;
      boolean isKey = at == 0 || text().charAt(at - 1) == ' ';
      if (isKey && text().startsWith(" ", start - 1)) {
        return text().startsWith("0x", start) ? start + 2 : start;
      }
    }
    throw new IllegalArgumentException("no '%s' in '%s'".formatted(key, text()));
  }

  private IllegalArgumentException noNumber(String key, NumberFormatException e) {
    return new IllegalArgumentException("no number for '%s' in '%s'".formatted(key, text()), e);
  }

  private int valueEnd(int start) {
    int end = text().indexOf(' ', start);
    return end < 0 ? text().length() : end;
  }
}
