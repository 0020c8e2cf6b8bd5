package dev.septum.lab.seamcall;

import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.SeamcallLeaf;

/** Builds TDs with one vCPU, and maps memory into them. */
final class TdBuilder {

  private static final int TDCS_PAGES = 6;
  private static final int TDVPS_PAGES = 6;
  private static final int TOP_LEVEL = 3;

  /** The roots of a TD and of its vCPU. */
  record BuiltTd(long tdr, long vcpu) {}

  private final Machine machine;
  private long nextHkid = 1;

  TdBuilder(Machine machine) {
    this.machine = machine;
  }

  /** A TD whose memory can still be added and measured. */
  BuiltTd build() throws StepFailedException {
    long tdr = machine.pages().backed();
    call(SeamcallLeaf.TDH_MNG_CREATE, tdr, nextHkid++);
    call(SeamcallLeaf.TDH_MNG_KEY_CONFIG, tdr, 0);
    for (int i = 0; i < TDCS_PAGES; i++) {
      call(SeamcallLeaf.TDH_MNG_ADDCX, machine.pages().backed(), tdr);
    }
    call(SeamcallLeaf.TDH_MNG_INIT, tdr, Machine.TD_PARAMS);
    long tdvpr = machine.pages().backed();
    call(SeamcallLeaf.TDH_VP_CREATE, tdvpr, tdr);
    for (int i = 1; i < TDVPS_PAGES; i++) {
      call(SeamcallLeaf.TDH_VP_ADDCX, machine.pages().backed(), tdvpr);
    }
    call(SeamcallLeaf.TDH_VP_INIT, tdvpr, 0);
    return new BuiltTd(tdr, tdvpr);
  }

  /** Lets the TD run. */
  void finish(long tdr) throws StepFailedException {
    call(SeamcallLeaf.TDH_MR_FINALIZE, tdr, 0);
  }

  /** Adds the tables that an entry of this level at {@code gpa} needs and that are missing. */
  void addTables(long tdr, long gpa, int level) throws StepFailedException {
    for (int parent = TOP_LEVEL; parent > level; parent--) {
      if (!hasTable(tdr, gpa, parent)) {
        machine.mustCall(
            SeamRegs.leaf(SeamcallLeaf.TDH_MEM_SEPT_ADD)
                .rcx(aligned(gpa, parent) | parent)
                .rdx(tdr)
                .r8(machine.pages().backed()));
      }
    }
  }

  /** Maps a fresh page, PENDING, and the tables above it; returns its HPA. */
  long map(long tdr, long gpa, int level) throws StepFailedException {
    addTables(tdr, gpa, level);
    long hpa = level == 0 ? machine.pages().backed() : machine.pages().large();
    machine.mustCall(
        SeamRegs.leaf(SeamcallLeaf.TDH_MEM_PAGE_AUG).rcx(gpa | level).rdx(tdr).r8(hpa));
    return hpa;
  }

  private boolean hasTable(long tdr, long gpa, int level) {
    return machine.module().view().tables(tdr).stream()
        .anyMatch(t -> t.level() == level && t.gpa() == aligned(gpa, level));
  }

  private void call(SeamcallLeaf leaf, long rcx, long rdx) throws StepFailedException {
    machine.mustCall(SeamRegs.leaf(leaf).rcx(rcx).rdx(rdx));
  }

  private static long aligned(long gpa, int level) {
    return gpa & -(4096L << (9 * level));
  }
}
