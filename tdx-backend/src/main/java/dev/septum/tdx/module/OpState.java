package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSet;
import java.util.Set;

/** TDCS.OP_STATE, without migration's states. */
enum OpState {
  UNINITIALIZED(0),
  INITIALIZED(1),
  RUNNABLE(2);

  /** The states in which a TD's memory may be worked on. */
  static final Set<OpState> WITH_MEMORY = ImmutableSet.of(INITIALIZED, RUNNABLE);

  private final int number;

  OpState(int number) {
    this.number = number;
  }

  int number() {
    return number;
  }

  /** Whether stale translations can exist, so that resizing and removing needs TLB tracking. */
  boolean isTlbTracked() {
    return this == RUNNABLE;
  }
}
