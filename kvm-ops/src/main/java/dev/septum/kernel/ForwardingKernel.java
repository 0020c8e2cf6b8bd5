package dev.septum.kernel;

/**
 * A kernel whose primitives another kernel makes. A subclass watches or stages what it cares for by
 * overriding the method that makes it, most often to return a forwarding primitive of its own.
 */
public abstract class ForwardingKernel implements Kernel {

  private final Kernel delegate;

  /** Forwards every call to {@code delegate}. */
  protected ForwardingKernel(Kernel delegate) {
    this.delegate = delegate;
  }

  @Override
  public RwLock rwLock(LockClass lockClass) {
    return delegate.rwLock(lockClass);
  }

  @Override
  public SpinLock spinLock(LockClass lockClass) {
    return delegate.spinLock(lockClass);
  }

  @Override
  public Mutex mutex(LockClass lockClass) {
    return delegate.mutex(lockClass);
  }

  @Override
  public Rcu rcu() {
    return delegate.rcu();
  }

  @Override
  public SharedWord word(long initial) {
    return delegate.word(initial);
  }

  @Override
  public <T> SharedRef<T> ref(T initial) {
    return delegate.ref(initial);
  }

  @Override
  public EntryTable entryTable(long base, long stride) {
    return delegate.entryTable(base, stride);
  }

  @Override
  public GuestMode guestMode() {
    return delegate.guestMode();
  }

  @Override
  public KernelThread spawn(String name, Runnable body) {
    return delegate.spawn(name, body);
  }

  @Override
  public void condResched() {
    delegate.condResched();
  }

  @Override
  public void cpuRelax() {
    delegate.cpuRelax();
  }

  @Override
  public SchedulingPoint schedulingPoint(String object) {
    return delegate.schedulingPoint(object);
  }

  @Override
  public LockChecker locks() {
    return delegate.locks();
  }
}
