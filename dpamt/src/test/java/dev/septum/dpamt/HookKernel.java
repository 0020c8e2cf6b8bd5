package dev.septum.dpamt;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.SpinLock;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.jspecify.annotations.Nullable;

/**
 * A host kernel in which a test can have things happen on a thread that is about to take a spin
 * lock: the other side of a race, at the one place where it matters.
 */
final class HookKernel {

  private final Kernel host = Kernel.host();
  private final ConcurrentLinkedQueue<Runnable> hooks = new ConcurrentLinkedQueue<>();

  /** The kernel with the hooks in it. */
  Kernel kernel() {
    return proxy(Kernel.class, this::call);
  }

  /** Runs {@code body} once, before the next spin lock is taken. */
  void beforeNextLock(Runnable body) {
    hooks.add(body);
  }

  private @Nullable Object call(Method method, Object[] arguments) throws Throwable {
    Object result = invoke(host, method, arguments);
    return result instanceof SpinLock lock ? hooked(lock) : result;
  }

  private SpinLock hooked(SpinLock lock) {
    return proxy(
        SpinLock.class,
        (method, arguments) -> {
          Runnable hook = method.getName().equals("lock") ? hooks.poll() : null;
          if (hook != null) {
            hook.run();
          }
          return invoke(lock, method, arguments);
        });
  }

  private interface Handler {
    @Nullable Object call(Method method, Object[] arguments) throws Throwable;
  }

  private static <T> T proxy(Class<T> type, Handler handler) {
    return type.cast(
        Proxy.newProxyInstance(
            type.getClassLoader(),
            new Class<?>[] {type},
            (self, method, arguments) ->
                handler.call(method, arguments == null ? new Object[0] : arguments)));
  }

  private static @Nullable Object invoke(Object target, Method method, Object[] arguments)
      throws Throwable {
    try {
      return method.invoke(target, arguments);
    } catch (InvocationTargetException e) {
      throw e.getCause() == null ? e : e.getCause();
    }
  }
}
