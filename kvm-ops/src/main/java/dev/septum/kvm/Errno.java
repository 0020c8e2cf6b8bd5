package dev.septum.kvm;

/** What a call that can fail returns: 0 or a negative errno; 1 in one case. */
public enum Errno {
  /** Success. */
  OK(0),
  /** Operation not permitted. */
  EPERM(1),
  /** No such entry. */
  ENOENT(2),
  /** A signal is pending. */
  EINTR(4),
  /** A broken invariant, or a VM that met one before. */
  EIO(5),
  /** No such device: the feature is off. */
  ENXIO(6),
  /** Too much. */
  E2BIG(7),
  /** No such descriptor. */
  EBADF(9),
  /** Not now; do it again. */
  EAGAIN(11),
  /** A page could not be had. */
  ENOMEM(12),
  /** The address is not backed. */
  EFAULT(14),
  /** Somebody else has it. */
  EBUSY(16),
  /** There is one already. */
  EEXIST(17),
  /** An argument that no call accepts. */
  EINVAL(22),
  /** Not here. */
  EOPNOTSUPP(95),
  /** 1: what the posted huge page series makes of an error that it stores in a bool. */
  ONE(-1);

  private final int number;

  Errno(int number) {
    this.number = number;
  }

  /** The kernel's return value: 0 or negative, or {@link #ONE}'s 1. */
  public int code() {
    return -number;
  }

  /** Whether this is not {@link #OK}. */
  public boolean isError() {
    return this != OK;
  }
}
