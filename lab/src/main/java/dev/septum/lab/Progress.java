package dev.septum.lab;

/** Hears how far a boot is. Calls are cheap: a boot may make one for each page. */
public interface Progress {

  /** Nobody watches. */
  Progress OFF =
      new Progress() {
        @Override
        public void phase(String name, long total) {}

        @Override
        public void reached(long done) {}
      };

  /** Starts a phase of {@code total} steps. */
  void phase(String name, long total);

  /** So many steps of the phase are done. */
  void reached(long done);

  /** Where it is, of work whose steps cannot be counted beforehand. */
  default void says(String text) {}
}
