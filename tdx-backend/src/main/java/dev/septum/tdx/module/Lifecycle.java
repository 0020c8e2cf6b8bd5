package dev.septum.tdx.module;

/** TDR.LIFECYCLE_STATE. */
enum Lifecycle {
  HKID_ASSIGNED,
  KEYS_CONFIGURED,
  BLOCKED,
  TEARDOWN
}
