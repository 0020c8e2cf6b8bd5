package dev.septum.mmu;

import dev.septum.kvm.Errno;

/**
 * The decisions of the TDP MMU in which the huge page series as posted and the sound design differ.
 * Each is taken in one place, which asks for it here.
 *
 * @param mirrorSplits what a split under the write lock changes first
 * @param errors what becomes of the error of a cross-boundary split
 * @param attributeChange in which order a change of attributes splits and zaps
 * @param failedChange whether a change of attributes that failed ends its invalidation
 * @param faultSplits how a fault splits a huge mirror leaf
 */
public record SplitDesign(
    MirrorSplits mirrorSplits,
    Errors errors,
    AttributeChange attributeChange,
    FailedChange failedChange,
    FaultSplits faultSplits) {

  /** What a split of a mirror leaf under the write lock changes first. */
  public enum MirrorSplits {
    /**
     * The entry is frozen, then the backend splits; if it can't, the leaf comes back. A table
     * without an external page never gets to it.
     */
    EXTERNAL_FIRST,
    /**
     * The mirror shows the split before the backend is asked, if need be with a page that is not
     * there; its answer is ignored.
     */
    MIRROR_FIRST
  }

  /** What becomes of the error of {@code kvm_split_cross_boundary_leafs}. */
  public enum Errors {
    /** It is returned. */
    RETURNED {
      @Override
      Errno returned(Errno error) {
        return error;
      }
    },
    /** It is stored in a bool, and is 1 from then on. */
    STORED_IN_BOOL {
      @Override
      Errno returned(Errno error) {
        return error.isError() ? Errno.ONE : Errno.OK;
      }
    };

    abstract Errno returned(Errno error);
  }

  /** In which order a change of attributes splits and zaps. */
  public enum AttributeChange {
    /** All slots are split before the first is zapped: a failure finds every page mapped. */
    SPLIT_ALL_THEN_ZAP,
    /** Slot by slot: a failure in a later slot finds the earlier ones zapped. */
    SLOT_BY_SLOT
  }

  /** Whether a change of attributes that failed ends its invalidation. */
  public enum FailedChange {
    /** Every begin has its end. */
    ENDS,
    /** The error path jumps over the end: faults on the range retry for ever. */
    STAYS_BEGUN
  }

  /** How a fault splits a huge mirror leaf that is in its way. */
  public enum FaultSplits {
    /** With a walk of its own, which may drop the lock, and takes the write lock if it must. */
    BY_WALK,
    /** Where it stands, under the read lock; what the backend refuses is tried again. */
    IN_PLACE
  }

  /** What the series should have done. */
  public static final SplitDesign SOUND =
      new SplitDesign(
          MirrorSplits.EXTERNAL_FIRST,
          Errors.RETURNED,
          AttributeChange.SPLIT_ALL_THEN_ZAP,
          FailedChange.ENDS,
          FaultSplits.BY_WALK);

  /** Version 3 of the series, as posted. */
  public static final SplitDesign POSTED_V3 =
      new SplitDesign(
          MirrorSplits.MIRROR_FIRST,
          Errors.STORED_IN_BOOL,
          AttributeChange.SLOT_BY_SLOT,
          FailedChange.STAYS_BEGUN,
          FaultSplits.IN_PLACE);

  /** The same with another fate of errors. */
  public SplitDesign withErrors(Errors newErrors) {
    return new SplitDesign(mirrorSplits, newErrors, attributeChange, failedChange, faultSplits);
  }
}
