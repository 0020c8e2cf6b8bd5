package dev.septum.kernel;

/** A reader-writer lock that passes every call on; a subclass adds to the ones it cares for. */
public abstract class ForwardingRwLock implements RwLock {

  private final RwLock delegate;

  /** Forwards every call to {@code delegate}. */
  protected ForwardingRwLock(RwLock delegate) {
    this.delegate = delegate;
  }

  @Override
  public void lock(LockMode mode) {
    delegate.lock(mode);
  }

  @Override
  public void unlock(LockMode mode) {
    delegate.unlock(mode);
  }

  @Override
  public boolean needBreak() {
    return delegate.needBreak();
  }

  @Override
  public void assertHeld(LockMode mode) {
    delegate.assertHeld(mode);
  }

  @Override
  public void assertHeld() {
    delegate.assertHeld();
  }

  @Override
  public boolean isHeld(LockMode mode) {
    return delegate.isHeld(mode);
  }
}
