package dev.septum.lab.seamcall;

import com.google.common.collect.ImmutableMap;
import dev.septum.tdx.module.OperandId;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxStatus;
import java.lang.reflect.Field;
import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;

/** The names that scripts use for leafs, status codes and operands. */
final class Symbols {

  private static final ImmutableMap<String, SeamcallLeaf> LEAFS =
      Arrays.stream(SeamcallLeaf.values())
          .collect(ImmutableMap.toImmutableMap(Symbols::nameOf, leaf -> leaf));

  private static final ImmutableMap<String, Long> OPERANDS = constantsOf(OperandId.class);

  private Symbols() {}

  /** {@code tdh.mem.page.aug} for TDH_MEM_PAGE_AUG. */
  static String nameOf(SeamcallLeaf leaf) {
    return leaf.kernelName().toLowerCase(Locale.ROOT).replace('_', '.');
  }

  /** A leaf by its name with dots or underscores, in any case, with or without TDH. */
  static Optional<SeamcallLeaf> leaf(String word) {
    String name = word.toLowerCase(Locale.ROOT).replace('_', '.');
    return Optional.ofNullable(LEAFS.getOrDefault(name, LEAFS.get("tdh." + name)));
  }

  /** The names of the leafs that begin as {@code word} does, or of all. */
  static String leafsLike(String word) {
    String name = word.toLowerCase(Locale.ROOT).replace('_', '.');
    for (int length = name.length(); length > "tdh.".length(); length--) {
      String head = name.substring(0, length);
      if (LEAFS.keySet().stream().anyMatch(leaf -> leaf.startsWith(head))) {
        return LEAFS.keySet().stream()
            .filter(leaf -> leaf.startsWith(head))
            .collect(Collectors.joining(", "));
      }
    }
    return String.join(", ", LEAFS.keySet());
  }

  /** A status code by its name, with or without TDX. */
  static Optional<Long> status(String word) {
    String name = word.toUpperCase(Locale.ROOT);
    return TdxStatus.named(name).or(() -> TdxStatus.named("TDX_" + name));
  }

  /** An operand's number by its name. */
  static Optional<Long> operand(String word) {
    return Optional.ofNullable(OPERANDS.get(word.toUpperCase(Locale.ROOT)));
  }

  private static ImmutableMap<String, Long> constantsOf(Class<?> constants) {
    ImmutableMap.Builder<String, Long> values = ImmutableMap.builder();
    for (Field field : constants.getFields()) {
      if (field.getType().isPrimitive()) {
        values.put(field.getName(), valueOf(field));
      }
    }
    return values.buildOrThrow();
  }

  private static long valueOf(Field field) {
    try {
      return ((Number) field.get(null)).longValue();
    } catch (IllegalAccessException e) {
      throw new IllegalStateException("a public constant cannot be read: " + field, e);
    }
  }
}
