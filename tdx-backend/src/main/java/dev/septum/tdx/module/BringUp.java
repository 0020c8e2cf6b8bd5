package dev.septum.tdx.module;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.SharedWord;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** The module's own state, and who has done his part of the bring-up. */
final class BringUp {

  private final SharexLock lock;
  private final SharedWord state;
  final Set<Integer> processors = ConcurrentHashMap.newKeySet();
  final Set<Integer> packages = ConcurrentHashMap.newKeySet();

  BringUp(Kernel kernel) {
    lock = new SharexLock(kernel);
    state = kernel.word(SysState.LOADED.ordinal()).named("module state");
  }

  /** The global lock: steps of the whole module hold it exclusively, those of one LP shared. */
  SharexLock lock() {
    return lock;
  }

  SysState state() {
    return SysState.values()[(int) state.get()];
  }

  boolean is(SysState asked) {
    return state.get() == asked.ordinal();
  }

  void enter(SysState next) {
    state.set(next.ordinal());
  }
}
