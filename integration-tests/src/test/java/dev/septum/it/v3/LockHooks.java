package dev.septum.it.v3;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.RwLock;
import dev.septum.kernel.SpinLock;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/** A host kernel in which things happen right before a lock is taken, or after it is released. */
final class LockHooks {

  private record Hook(int nth, Runnable body) {}

  private final Kernel host = Kernel.host();
  private final Map<LockClass, Hook> beforeLock = new ConcurrentHashMap<>();
  private final Map<LockClass, Hook> afterUnlock = new ConcurrentHashMap<>();

  /** The kernel; its locks ask for hooks. */
  final Kernel kernel = wrap(Kernel.class, host, this::withHooks);

  /** Runs {@code body} on the thread that takes the nth lock of a class from now on; 1 is next. */
  void before(LockClass lockClass, int nth, Runnable body) {
    beforeLock.put(lockClass, new Hook(nth, body));
  }

  /** Runs {@code body} on the thread that does the nth release of a class from now on. */
  void after(LockClass lockClass, int nth, Runnable body) {
    afterUnlock.put(lockClass, new Hook(nth, body));
  }

  private Object withHooks(Method method, Object made, @Nullable Object[] arguments) {
    return switch (method.getName()) {
      case "rwLock" -> hooked(RwLock.class, (RwLock) made, (LockClass) arguments[0]);
      case "spinLock" -> hooked(SpinLock.class, (SpinLock) made, (LockClass) arguments[0]);
      default -> made;
    };
  }

  private <T> T hooked(Class<T> type, T lock, LockClass lockClass) {
    InvocationHandler handler =
        (proxy, method, arguments) -> {
          if (method.getName().equals("lock")) {
            next(beforeLock, lockClass);
          }
          Object result = call(lock, method, arguments);
          if (method.getName().equals("unlock")) {
            next(afterUnlock, lockClass);
          }
          return result;
        };
    return proxy(type, handler);
  }

  private static void next(Map<LockClass, Hook> hooks, LockClass lockClass) {
    Hook hook = hooks.remove(lockClass);
    if (hook == null) {
      return;
    }
    if (hook.nth() > 1) {
      hooks.put(lockClass, new Hook(hook.nth() - 1, hook.body()));
    } else {
      hook.body().run();
    }
  }

  private interface Result {
    Object of(Method method, Object made, @Nullable Object[] arguments);
  }

  private static <T> T wrap(Class<T> type, T target, Result result) {
    return proxy(
        type,
        (proxy, method, arguments) -> {
          Object made = call(target, method, arguments);
          return made == null ? null : result.of(method, made, arguments);
        });
  }

  private static <T> T proxy(Class<T> type, InvocationHandler handler) {
    return type.cast(Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, handler));
  }

  private static @Nullable Object call(Object target, Method method, @Nullable Object[] arguments)
      throws Throwable {
    try {
      method.setAccessible(true);
      return method.invoke(target, arguments);
    } catch (InvocationTargetException e) {
      throw e.getCause();
    }
  }
}
