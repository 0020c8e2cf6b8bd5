package dev.septum.lab.backend;

/** A backend broke its contract outside of the ops, where there is no VM to bug. */
public final class BackendException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  BackendException(String message) {
    super(message);
  }

  BackendException(String message, Throwable cause) {
    super(message, cause);
  }
}
