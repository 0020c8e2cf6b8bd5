package dev.septum.kernel.schedule;

/**
 * What is explored. It runs from its beginning for every schedule, on the kernel that it is given,
 * and must do the same whenever the schedule is the same: no clocks, no random numbers without a
 * seed, nothing left over from the run before.
 */
@FunctionalInterface
public interface Program {

  /**
   * Makes its objects, spawns its threads, joins them and checks what they did; runs as the
   * emulated thread "main". An exception out of it is a failure.
   */
  void run(ScheduledKernel kernel);
}
