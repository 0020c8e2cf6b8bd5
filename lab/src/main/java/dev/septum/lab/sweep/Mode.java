package dev.septum.lab.sweep;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.LockClass;
import dev.septum.tdx.module.Injected;
import dev.septum.tdx.module.OperandId;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxStatus;
import java.util.Locale;

/** How a flow is disturbed at a point. */
public enum Mode {
  /** The allocation fails. */
  FAIL,
  /** The SEAMCALL is busy once. */
  BUSY {
    @Override
    void disturb(Injected call) {
      call.fail(TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);
    }
  },
  /** The SEAMCALL is busy, and the next one of its kind too. */
  BUSY_TWICE {
    @Override
    void disturb(Injected call) {
      call.fail(TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);
    }

    @Override
    int calls() {
      return 2;
    }
  },
  /** The SEAMCALL finds the S-EPT entry locked by the guest. */
  CONTENDED {
    @Override
    void disturb(Injected call) {
      call.contend(OperandId.SEPT_ENTRY);
    }
  },
  /** An interrupt ends the SEAMCALL; it can be started again. */
  INTERRUPTED {
    @Override
    void disturb(Injected call) {
      call.fail(TdxStatus.TDX_INTERRUPTED_RESTARTABLE);
    }
  },
  /** The SEAMCALL is refused for good. */
  REFUSED {
    @Override
    void disturb(Injected call) {
      call.fail(TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX);
    }
  },
  /** PAMT.ADD is told that the range has a pair. */
  NOT_FREE {
    @Override
    void disturb(Injected call) {
      call.fail(TdxStatus.TDX_HPA_RANGE_NOT_FREE);
    }
  },
  /** Another thread gets a pair for the range of a new S-EPT page before pamt_lock is had. */
  LOST_RACE;

  /** Disturbs a SEAMCALL. */
  void disturb(Injected call) {
    throw new IllegalStateException(this + " is nothing for a SEAMCALL");
  }

  /** How many calls in a row are disturbed. */
  int calls() {
    return 1;
  }

  /** How a place can be disturbed. */
  static ImmutableList<Mode> of(String place) {
    if (place.equals(LockClass.PAMT_LOCK.kernelName())) {
      return ImmutableList.of(LOST_RACE);
    }
    if (place.equals(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD.kernelName())) {
      return ImmutableList.of(BUSY, BUSY_TWICE, INTERRUPTED, REFUSED, NOT_FREE);
    }
    if (place.startsWith("TDH_MEM_")) {
      return ImmutableList.of(BUSY, BUSY_TWICE, CONTENDED, INTERRUPTED, REFUSED);
    }
    return place.startsWith("TDH_")
        ? ImmutableList.of(BUSY, BUSY_TWICE, INTERRUPTED, REFUSED)
        : ImmutableList.of(FAIL);
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
