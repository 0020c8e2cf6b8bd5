package dev.septum.kernel;

/** A running thread of a {@link Kernel}. */
public interface KernelThread {

  /** Waits for the thread's end and rethrows what ended it, if it failed. */
  void join();
}
