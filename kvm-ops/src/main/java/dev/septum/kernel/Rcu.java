package dev.septum.kernel;

/** Read-copy-update: readers never wait, what they may still see is freed after they are gone. */
public interface Rcu {

  /** Enters a read section; sections nest. */
  void readLock();

  /** Leaves a read section. */
  void readUnlock();

  /**
   * Runs {@code callback} once every read section that is open now has ended ({@code call_rcu}).
   */
  void call(Runnable callback);

  /** Waits until every callback queued before has run ({@code rcu_barrier}). May sleep. */
  void barrier();

  /** Checks that the calling thread is inside a read section. */
  void assertReadSection();
}
