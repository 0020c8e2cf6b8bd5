package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.reference.NoneBackend;
import dev.septum.lab.Progress;
import dev.septum.mmu.DirtyLogBoundary;
import java.util.List;

/**
 * Replays recordings on our MMU: a VM of its own for each, driven through the same ioctls, touches
 * and calls of the host's memory management.
 */
public final class Replay implements Replayer {

  private final DirtyLogBoundary boundary;
  private final KvmBackend backend;

  /** Replays as the kernel is. */
  public Replay() {
    this(DirtyLogBoundary.ROUNDED_UP, new NoneBackend());
  }

  private Replay(DirtyLogBoundary boundary, KvmBackend backend) {
    this.boundary = boundary;
    this.backend = backend;
  }

  @Override
  public Replayer judging(DirtyLogBoundary other) {
    return new Replay(other, backend);
  }

  @Override
  public Replayer on(KvmBackend other) {
    return new Replay(boundary, other);
  }

  @Override
  public List<OpOutcome> replay(Recording recording, Progress progress) throws RecordingException {
    ImmutableList.Builder<OpOutcome> outcomes = ImmutableList.builder();
    ReplayedHost host = new ReplayedHost(recording.header(), boundary, backend);
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
