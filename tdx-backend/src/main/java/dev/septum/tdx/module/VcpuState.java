package dev.septum.tdx.module;

/** TDVPS.STATE, as far as the module's callers meet it. */
enum VcpuState {
  UNINITIALIZED(0),
  READY(2);

  private final int number;

  VcpuState(int number) {
    this.number = number;
  }

  int number() {
    return number;
  }
}
