package dev.septum.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.mockingDetails;

import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.mockito.invocation.Invocation;

class ForwardingTest {

  /** A type, and the forwarding object of that type around another. */
  private record Forwarding<T>(Class<T> type, UnaryOperator<T> around) {

    @Override
    public String toString() {
      return type.getSimpleName();
    }
  }

  static Stream<Forwarding<?>> all() {
    return Stream.of(
        new Forwarding<>(Kernel.class, kernel -> new ForwardingKernel(kernel) {}),
        new Forwarding<>(RwLock.class, lock -> new ForwardingRwLock(lock) {}),
        new Forwarding<>(SpinLock.class, lock -> new ForwardingSpinLock(lock) {}),
        new Forwarding<>(EntryTable.class, table -> new ForwardingEntryTable(table) {}),
        new Forwarding<>(GuestMode.class, mode -> new ForwardingGuestMode(mode) {}));
  }

  @ParameterizedTest
  @MethodSource("all")
  <T> void everyMethod_passesItsArgumentsOnAndTheAnswerBack(Forwarding<T> forwarding)
      throws ReflectiveOperationException {
    for (Method method : forwarding.type().getMethods()) {
      if (!Modifier.isAbstract(method.getModifiers())) {
        continue;
      }
      @Nullable Object answer = sample(method.getReturnType(), 7);
      T delegate = mock(forwarding.type(), invocation -> answer);
      @Nullable Object[] arguments = new @Nullable Object[method.getParameterCount()];
      Arrays.setAll(arguments, i -> sample(method.getParameterTypes()[i], i + 1));

      @Nullable Object result = method.invoke(forwarding.around().apply(delegate), arguments);

      assertThat(result).as("%s", method).isEqualTo(answer);
      List<Invocation> seen = new ArrayList<>(mockingDetails(delegate).getInvocations());
      assertThat(seen).as("%s", method).hasSize(1);
      assertThat(seen.get(0).getMethod().getName()).isEqualTo(method.getName());
      assertThat(seen.get(0).getRawArguments()).as("%s", method).containsExactly(arguments);
    }
  }

  /** A value of {@code type} that tells one place from another. */
  private static @Nullable Object sample(Class<?> type, int place) {
    if (type == void.class) {
      return null;
    }
    if (type == boolean.class) {
      return true;
    }
    if (type == int.class) {
      return place;
    }
    if (type == long.class) {
      return (long) place;
    }
    if (type == String.class) {
      return "argument " + place;
    }
    return type.isEnum() ? type.getEnumConstants()[1] : mock(type);
  }
}
