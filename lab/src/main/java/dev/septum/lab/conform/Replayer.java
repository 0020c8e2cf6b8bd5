package dev.septum.lab.conform;

import dev.septum.kvm.KvmBackend;
import dev.septum.lab.Progress;
import dev.septum.mmu.DirtyLogBoundary;
import java.util.List;

/** Does on an MMU what was done to the kernel in a recording. */
@FunctionalInterface
public interface Replayer {

  /**
   * Replays a recording from its first operation to its last; the operations that it calls
   * concurrent run on threads.
   *
   * <p>Events are in the kernel's own text. Two of them stand for kprobes: {@code
   * flush_remote_tlbs}, without fields, at each flush of the VM's TLBs, and {@code tdp_map_ret}
   * with {@code ret_pf=5} and the like when a fault leaves the TDP MMU.
   *
   * <p>Pages that the recording does not list (the guest's code, guest_memfd) get frames that it
   * does not list either. The tables of a dump and of the events are in frames of the MMU's own.
   *
   * @param progress is told how many events have happened
   * @return one outcome for each operation
   * @throws RecordingException if the recording asks for something that cannot be replayed
   */
  List<OpOutcome> replay(Recording recording, Progress progress) throws RecordingException;

  /** The same with another judgement of which huge pages the dirty bits of a word lie in. */
  default Replayer judging(DirtyLogBoundary boundary) {
    return this;
  }

  /** The same on a backend whose ops the VM has. */
  default Replayer on(KvmBackend backend) {
    return this;
  }
}
