package dev.septum.tdx.guest;

/** The guest met what it cannot go on from. */
public final class GuestPanic extends RuntimeException {
  private static final long serialVersionUID = 1L;

  GuestPanic(String message) {
    super(message);
  }
}
