package dev.septum.lab.seamcall;

/** How far a TD is built. */
enum TdStage {
  /** Memory can be added and measured. */
  INITIALIZED,
  /** It can run. */
  RUNNABLE
}
