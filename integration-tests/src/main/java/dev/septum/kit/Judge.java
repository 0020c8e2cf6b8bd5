package dev.septum.kit;

import dev.septum.kvm.Breach;
import java.lang.reflect.Method;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.InvocationInterceptor;
import org.junit.jupiter.api.extension.ReflectiveInvocationContext;
import org.opentest4j.TestAbortedException;

/**
 * Says which rule a test's end is about. A backend that throws, hangs or misuses locks breaks the
 * rule that says so; another rule that cannot be judged for it is skipped.
 */
final class Judge implements InvocationInterceptor {

  private static final String HANGS = "CALL.2";

  /** Backends that hang: each of their rules would take all its time. */
  private static final Set<Class<?>> HANGING = ConcurrentHashMap.newKeySet();

  /** The rule on what a backend must never do. */
  static String ruleOf(Breach.Kind kind) {
    return switch (kind) {
      case THROWS -> "CALL.1";
      case ENDLESS -> "CALL.2";
      case RESULT -> "CALL.3";
      case HELD_LOCKS -> "CALL.4";
      case SLEEPS -> "CALL.5";
      case LOCK_RULE -> "CALL.6";
    };
  }

  @Override
  public void interceptTestMethod(
      Invocation<@Nullable Void> invocation,
      ReflectiveInvocationContext<Method> context,
      ExtensionContext extension)
      throws Throwable {
    Rule rule = context.getExecutable().getAnnotation(Rule.class);
    if (rule == null || !(context.getTarget().orElse(null) instanceof BackendKit kit)) {
      invocation.proceed();
      return;
    }
    Class<?> backend = kit.backend().getClass();
    if (HANGING.contains(backend) && !rule.value().equals(HANGS)) {
      invocation.skip();
      throw new BrokenElsewhere(HANGS, "an op of the backend does not return");
    }
    @Nullable Throwable end = endOf(invocation, kit);
    if (!kit.explorations().isEmpty()) {
      extension.publishReportEntry("explored", String.join("; ", kit.explorations()));
    }
    String broken = kit.breachedRule();
    if (broken == null) {
      if (end != null) {
        throw rule.value().startsWith("CALL.") && !(end instanceof TestAbortedException)
            ? new NotJudged("another rule is broken: " + end, end)
            : end;
      }
      return;
    }
    if (kit.isHanging()) {
      HANGING.add(backend);
    }
    if (broken.equals(rule.value())) {
      throw new AssertionError(rule.value() + " is broken: " + kit.breachText());
    }
    throw new BrokenElsewhere(broken, kit.breachText());
  }

  private static @Nullable Throwable endOf(Invocation<@Nullable Void> invocation, BackendKit kit) {
    try {
      Assertions.assertTimeoutPreemptively(kit.timeLimit(), () -> invocation.proceed());
      return null;
    } catch (Throwable t) { // Whatever it is, it is the test's end.
      return t;
    }
  }
}
