package dev.septum.kernel;

/** A table that passes every access on; a subclass adds to the ones it cares for. */
public abstract class ForwardingEntryTable implements EntryTable {

  private final EntryTable delegate;

  /** Forwards every call to {@code delegate}. */
  protected ForwardingEntryTable(EntryTable delegate) {
    this.delegate = delegate;
  }

  @Override
  public long get(int index) {
    return delegate.get(index);
  }

  @Override
  public void set(int index, long value) {
    delegate.set(index, value);
  }

  @Override
  public long getAndSet(int index, long value) {
    return delegate.getAndSet(index, value);
  }

  @Override
  public long compareAndExchange(int index, long expected, long value) {
    return delegate.compareAndExchange(index, expected, value);
  }

  @Override
  public long getAndBitwiseAnd(int index, long mask) {
    return delegate.getAndBitwiseAnd(index, mask);
  }

  @Override
  public long addAndGet(int index, long delta) {
    return delegate.addAndGet(index, delta);
  }

  @Override
  public boolean isUniform() {
    return delegate.isUniform();
  }
}
