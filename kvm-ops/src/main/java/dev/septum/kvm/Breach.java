package dev.septum.kvm;

/**
 * How a backend broke the contract in one call of an op; its VM is bugged for it.
 *
 * @param text the report: backend, op, and what it did
 */
public record Breach(Kind kind, String text) {

  /** What a backend must never do. */
  public enum Kind {
    /** The op threw. */
    THROWS,
    /** The op's result is null, or nothing that KVM knows what to do with. */
    RESULT,
    /** The op asks to be called again, and again, and nothing comes of it. */
    ENDLESS,
    /** The op returned with other locks held than it was called with. */
    HELD_LOCKS,
    /** The op slept, or might have, while it must not. */
    SLEEPS,
    /** The op broke another rule on locks. */
    LOCK_RULE
  }
}
