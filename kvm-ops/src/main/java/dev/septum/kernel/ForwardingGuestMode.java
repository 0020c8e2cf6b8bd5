package dev.septum.kernel;

/** A guest mode that passes every call on; a subclass adds to the ones it cares for. */
public abstract class ForwardingGuestMode implements GuestMode {

  private final GuestMode delegate;

  /** Forwards every call to {@code delegate}. */
  protected ForwardingGuestMode(GuestMode delegate) {
    this.delegate = delegate;
  }

  @Override
  public void enter() {
    delegate.enter();
  }

  @Override
  public void leave() {
    delegate.leave();
  }

  @Override
  public boolean isInGuest() {
    return delegate.isInGuest();
  }

  @Override
  public boolean isExitRequested() {
    return delegate.isExitRequested();
  }

  @Override
  public boolean kickAndWait() {
    return delegate.kickAndWait();
  }
}
