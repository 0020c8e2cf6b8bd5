package dev.septum.kernel;

/** A place at which a runtime that chooses who goes next may choose another thread. */
@FunctionalInterface
public interface SchedulingPoint {

  /** The point of a runtime that leaves the choice to the machine. */
  SchedulingPoint NONE = kind -> {};

  /** The calling thread is about to do something of this kind. */
  void reached(PointKind kind);
}
