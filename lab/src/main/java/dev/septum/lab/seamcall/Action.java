package dev.septum.lab.seamcall;

/** What a line of a script does. */
interface Action {
  void run(Exploration exploration) throws StepFailedException;
}
