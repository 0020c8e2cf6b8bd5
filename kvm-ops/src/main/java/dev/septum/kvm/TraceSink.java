package dev.septum.kvm;

/** Where trace events go. Events are formatted only when somebody listens. */
public interface TraceSink {

  /** Nobody listens. */
  TraceSink OFF =
      new TraceSink() {
        @Override
        public boolean isOn() {
          return false;
        }

        @Override
        public void event(String name, String fields) {}
      };

  /** Whether events are wanted. Who is told so makes one next, and does nothing else before. */
  boolean isOn();

  /** Records one event: its name, and its fields as the kernel prints them. */
  void event(String name, String fields);
}
