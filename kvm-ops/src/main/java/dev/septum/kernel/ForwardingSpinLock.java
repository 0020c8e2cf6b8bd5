package dev.septum.kernel;

/** A spin lock that passes every call on; a subclass adds to the ones it cares for. */
public abstract class ForwardingSpinLock implements SpinLock {

  private final SpinLock delegate;

  /** Forwards every call to {@code delegate}. */
  protected ForwardingSpinLock(SpinLock delegate) {
    this.delegate = delegate;
  }

  @Override
  public void lock() {
    delegate.lock();
  }

  @Override
  public void unlock() {
    delegate.unlock();
  }

  @Override
  public void assertHeld() {
    delegate.assertHeld();
  }
}
