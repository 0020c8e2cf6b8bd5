package dev.septum.tdx.module;

import com.google.common.collect.ImmutableMap;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.util.Map;
import java.util.Optional;

/** The names of the public numeric constants of one class, by value. */
final class NumberNames {

  private final ImmutableMap<Long, String> names;

  private NumberNames(ImmutableMap<Long, String> names) {
    this.names = names;
  }

  static NumberNames ofConstants(Class<?> constants, Class<?> type) {
    ImmutableMap.Builder<Long, String> names = ImmutableMap.builder();
    for (Field field : constants.getDeclaredFields()) {
      if (field.getType() == type && Modifier.isPublic(field.getModifiers())) {
        names.put(valueOf(field), field.getName());
      }
    }
    return new NumberNames(names.buildOrThrow());
  }

  String of(long value) {
    return names.getOrDefault(value, "0x" + Long.toHexString(value));
  }

  /** The value that has a name. */
  Optional<Long> valueOf(String name) {
    return names.entrySet().stream()
        .filter(entry -> entry.getValue().equals(name))
        .map(Map.Entry::getKey)
        .findFirst();
  }

  private static long valueOf(Field field) {
    try {
      return ((Number) field.get(null)).longValue();
    } catch (IllegalAccessException e) {
      throw new IllegalStateException("a public constant can not be read: " + field, e);
    }
  }
}
