package dev.septum.tdx.module;

/** How far the module has been brought up. */
enum SysState {
  /** Loaded: SYS.INIT is pending. */
  LOADED,
  /** SYS.INIT is done: each processor has its SYS.LP.INIT, then comes SYS.CONFIG. */
  INITIALIZED,
  /** SYS.CONFIG is done: each package has its SYS.KEY.CONFIG. */
  CONFIGURED,
  /** Everything but bring-up may be called. */
  READY,
  /** Nothing may be called any more. */
  SHUT_DOWN
}
