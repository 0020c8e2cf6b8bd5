package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import java.util.Optional;

/**
 * An operation of a recording.
 *
 * @param fields its parameters, as {@code ops.json} has them
 * @param outcome what the kernel did
 * @param isTraced whether the trace has the operation
 * @param linesBefore the trace since the operation before: what the host did on its own
 * @param lines the trace of the operation, of all CPUs, in order
 * @param table the tables after the operation
 * @param backing the host's memory after the operation
 */
record RecordedOp(
    int index,
    String name,
    OpFields fields,
    ImmutableMap<String, Long> vmStatsBefore,
    OpOutcome outcome,
    boolean isTraced,
    ImmutableList<TraceLine> linesBefore,
    ImmutableList<TraceLine> lines,
    Optional<TableSnapshot> table,
    Optional<Backing> backing) {

  /** Whether vCPUs run at the same time as the host changes the VM, so that no two runs agree. */
  boolean isConcurrent() {
    return name.startsWith("concurrent") || fields.has("vcpu_threads");
  }

  @Override
  public String toString() {
    return "op %d %s".formatted(index, name);
  }
}
