package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.TraceSink;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;

/** The compared events of the operation that is being replayed; from any number of threads. */
final class EventLog implements TraceSink {

  private final ComparedEvents compared;
  private final Queue<Event> events = new ConcurrentLinkedQueue<>();

  EventLog(ComparedEvents compared) {
    this.compared = compared;
  }

  @Override
  public boolean isOn() {
    return true;
  }

  @Override
  public void event(String name, String fields) {
    Event event = new Event(name, fields);
    if (compared.contains(event)) {
      events.add(event);
    }
  }

  /** Forgets what happened so far. */
  void clear() {
    events.clear();
  }

  /** What happened since the last time. */
  ImmutableList<Event> take() {
    ImmutableList<Event> taken = ImmutableList.copyOf(events);
    events.clear();
    return taken;
  }
}
