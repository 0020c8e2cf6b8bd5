package dev.septum.kernel;

/** A shared reference on real threads. */
final class HostRef<T> implements SharedRef<T> {

  private volatile T value;

  HostRef(T initial) {
    value = initial;
  }

  @Override
  public T get() {
    return value;
  }

  @Override
  public void set(T newValue) {
    value = newValue;
  }
}
