package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.PageLevel;
import java.nio.file.Path;
import java.util.List;

/** What the real kernel was asked, operation by operation, and what it did. */
public final class Recording {

  /**
   * What holds for all operations.
   *
   * @param smallestLevel below this level, changes of SPTEs were not recorded
   * @param eagerPageSplit the module parameter at the start
   * @param nxHugePages the module parameter at the start
   * @param hasProbes whether kprobes were recorded, which say when TLBs are flushed
   */
  record Header(
      String sequence,
      String description,
      PageLevel smallestLevel,
      boolean eagerPageSplit,
      boolean nxHugePages,
      PageLevel rootLevel,
      boolean hasProbes) {}

  private final String name;
  private final Header header;
  private final ImmutableList<RecordedOp> ops;
  private final long events;

  Recording(String name, Header header, List<RecordedOp> ops) {
    this.name = name;
    this.header = header;
    this.ops = ImmutableList.copyOf(ops);
    ComparedEvents compared = new ComparedEvents(header);
    this.events =
        ops.stream()
            .flatMap(op -> op.outcome().events().stream())
            .filter(compared::contains)
            .count();
  }

  /**
   * Reads a recording and checks that it is whole.
   *
   * @param path a directory with an {@code ops.json}, or a .zip file of what is in such a directory
   * @throws RecordingException if something is missing or is not what it should be
   */
  public static Recording read(Path path) throws RecordingException {
    return RecordingReader.read(Recordings.nameOf(path), path);
  }

  /** What reports call it. */
  public String name() {
    return name;
  }

  /** How many operations it has. */
  public int opCount() {
    return ops.size();
  }

  /** How many events there are to compare. */
  public long eventCount() {
    return events;
  }

  /** What the kernel did, operation by operation. */
  public List<OpOutcome> outcomes() {
    return ops.stream().map(RecordedOp::outcome).toList();
  }

  Header header() {
    return header;
  }

  ImmutableList<RecordedOp> ops() {
    return ops;
  }

  /** The first operation from which on no two runs agree; the number of operations if all do. */
  int firstConcurrentOp() {
    for (RecordedOp op : ops) {
      if (op.isConcurrent()) {
        return op.index();
      }
    }
    return ops.size();
  }

  /** Whether vCPUs run at the same time as the host changes the VM. */
  boolean isRace() {
    return firstConcurrentOp() < ops.size();
  }
}
