package dev.septum.kernel.schedule;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.concurrent.ThreadFactory;

/**
 * What emulated threads run on: Java threads, all of them parked but for the one with the token.
 */
public enum Carrier {
  /** Platform threads, on any JDK. */
  PLATFORM {
    @Override
    public boolean isUsable() {
      return true;
    }

    @Override
    ThreadFactory factory(int workers) {
      return body -> {
        Thread thread = new Thread(body, "emulated");
        thread.setDaemon(true);
        return thread;
      };
    }
  },
  /**
   * Virtual threads, on JDK 24 and later: before, a monitor that is held would pin them. They share
   * as many platform threads as there are workers, so that handing the token on never waits for
   * another CPU.
   */
  VIRTUAL {
    @Override
    public boolean isUsable() {
      return Runtime.version().feature() >= 24;
    }

    @Override
    ThreadFactory factory(int workers) {
      // Read once, when the JVM makes its first virtual thread; who set it already is obeyed.
      setUnlessSet("jdk.virtualThreadScheduler.parallelism", workers);
      setUnlessSet("jdk.virtualThreadScheduler.maxPoolSize", workers);
      try {
        // Java 17 has no such method: it is looked up where it runs, not where it is compiled.
        Object builder = Thread.class.getMethod("ofVirtual").invoke(null);
        Method factory = Class.forName("java.lang.Thread$Builder").getMethod("factory");
        return (ThreadFactory) factory.invoke(builder);
      } catch (NoSuchMethodException
          | ClassNotFoundException
          | IllegalAccessException
          | InvocationTargetException e) {
        throw new IllegalStateException("this JDK has no virtual threads", e);
      }
    }
  };

  /** Whether this JVM has such threads in a form that serves. */
  public abstract boolean isUsable();

  /** Makes carriers for that many workers at once. */
  abstract ThreadFactory factory(int workers);

  /** The faster of those that are usable. */
  public static Carrier best() {
    return VIRTUAL.isUsable() ? VIRTUAL : PLATFORM;
  }

  private static void setUnlessSet(String property, int value) {
    if (System.getProperty(property) == null) {
      System.setProperty(property, String.valueOf(value));
    }
  }
}
