package dev.septum.lab.scenario;

import static com.google.common.base.Preconditions.checkArgument;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import dev.septum.kvm.Errno;
import java.util.Arrays;
import java.util.stream.Collectors;

/**
 * What a step may return, by backend.
 *
 * @param byBackend names of results; under {@link #EVERY} what holds for backends not named
 */
public record Returns(ImmutableMap<String, ImmutableSet<String>> byBackend) {

  /** The key for every backend. */
  static final String EVERY = "*";

  /** The step was done. */
  public static final String OK = "OK";

  /** Whatever it is, it is fine. */
  static final String ANY = "any";

  /** Results that are no errno. */
  private static final ImmutableSet<String> EXITS =
      ImmutableSet.of(
          "memory-fault",
          "map-gpa",
          "mmio",
          "dirty-ring-full",
          "guest-panic",
          "endless-retry",
          ANY);

  static final String ACCEPTED =
      "OK, 1, an errno such as ENOMEM, %s, a list of these, or a mapping from backends to them"
          .formatted(String.join(", ", EXITS));

  /** What a step must return that does not say: {@code OK}. */
  static final Returns DONE = of(ImmutableSet.of(OK));

  static Returns of(ImmutableSet<String> results) {
    return new Returns(ImmutableMap.of(EVERY, results));
  }

  static String checked(String result) {
    checkArgument(
        EXITS.contains(result)
            || result.equals("1")
            || Arrays.stream(Errno.values())
                .anyMatch(e -> e != Errno.ONE && e.name().equals(result)),
        ACCEPTED);
    return result;
  }

  /** The name of a return value: {@code OK}, {@code ENOMEM}, {@code 1}. */
  public static String nameOf(Errno error) {
    return error == Errno.ONE ? "1" : error.name();
  }

  /** Whether a result is one of those expected of the backend. */
  public boolean accepts(String backend, String result) {
    ImmutableSet<String> expected = of(backend);
    return expected.contains(result) || expected.contains(ANY);
  }

  /** Whether the step ends at such an exit instead of having the VMM answer it. */
  public boolean names(String backend, String exit) {
    return of(backend).contains(exit);
  }

  private ImmutableSet<String> of(String backend) {
    ImmutableSet<String> every = byBackend.getOrDefault(EVERY, ImmutableSet.of(OK));
    return byBackend.getOrDefault(backend, every);
  }

  /** The results as text: {@code OK or EAGAIN}. */
  public String text(String backend) {
    return of(backend).stream().collect(Collectors.joining(" or "));
  }
}
