package dev.septum.kernel;

/**
 * A reference that threads share without a lock: what it leads to is complete when it is seen
 * ({@code rcu_dereference}, {@code rcu_assign_pointer}).
 */
public interface SharedRef<T> {

  /** Reads the reference once. */
  T get();

  /** Publishes another value. Writers keep each other out by a lock of their own. */
  void set(T value);

  /** The same, under a name by which reports of a schedule call it. For who has just made it. */
  default SharedRef<T> named(String name) {
    return this;
  }
}
