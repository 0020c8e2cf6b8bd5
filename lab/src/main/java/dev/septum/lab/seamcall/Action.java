package dev.septum.lab.seamcall;

/** What a line of a script does. */
interface Action {
  void run(Session session) throws StepFailedException;
}
