package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import dev.septum.lab.Progress;
import dev.septum.mmu.DirtyLogBoundary;
import java.util.List;

/**
 * Replays recordings on our MMU: a VM of its own for each, driven through the same ioctls, touches
 * and calls of the host's memory management.
 */
public final class Replay implements Replayer {

  private final DirtyLogBoundary boundary;

  /** Replays as the kernel is. */
  public Replay() {
    this(DirtyLogBoundary.ROUNDED_UP);
  }

  private Replay(DirtyLogBoundary boundary) {
    this.boundary = boundary;
  }

  @Override
  public Replayer judging(DirtyLogBoundary other) {
    return new Replay(other);
  }

  @Override
  public List<OpOutcome> replay(Recording recording, Progress progress) throws RecordingException {
    ImmutableList.Builder<OpOutcome> outcomes = ImmutableList.builder();
    ReplayedHost host = new ReplayedHost(recording.header(), boundary);
    long events = 0;
    for (RecordedOp op : recording.ops()) {
      OpOutcome outcome = host.run(op);
      events += outcome.events().size();
      progress.reached(events);
      outcomes.add(outcome);
    }
    return outcomes.build();
  }
}
