package dev.septum.lab.conform;

import dev.septum.kvm.PageLevel;
import dev.septum.mmu.SpteFormat;
import java.util.Optional;

/**
 * A change of an SPTE that the model allows: the rule's name, and the bits that it may change.
 *
 * <p>The CPU sets A and D on its own; that is no transition, since nobody sees it happen.
 */
enum Transition {
  /** A fault maps a page where nothing was, or where an MMIO SPTE was. */
  MAP {
    @Override
    boolean allows(PageLevel level, long oldSpte, long newSpte) {
      return isVacant(oldSpte) && isFreshLeaf(level, newSpte);
    }
  },
  /** A fault finds that nothing is behind the gfn. */
  MAP_MMIO {
    @Override
    boolean allows(PageLevel level, long oldSpte, long newSpte) {
      return level == PageLevel.LEVEL_4K && isVacant(oldSpte) && NPT.isMmio(newSpte);
    }
  },
  /** A fault maps a page again with more rights; D stays only if W is new. */
  MAP_AGAIN {
    @Override
    boolean allows(PageLevel level, long oldSpte, long newSpte) {
      boolean gainsWrite = NPT.isWritable(newSpte) && !NPT.isWritable(oldSpte);
      boolean gainsExec = NPT.isExecutable(newSpte) && !NPT.isExecutable(oldSpte);
      return isSamePage(level, oldSpte, newSpte)
          && (gainsWrite || gainsExec)
          && NPT.isWritable(newSpte) == NPT.isMmuWritable(newSpte)
          && NPT.isAccessed(newSpte)
          && NPT.isDirty(newSpte) == gainsWrite;
    }
  },
  /** A fault maps a page again that was writable already, which drops D; or D is cleared. */
  DROP_DIRTY {
    @Override
    boolean allows(PageLevel level, long oldSpte, long newSpte) {
      return isSamePage(level, oldSpte, newSpte)
          && NPT.isDirty(oldSpte)
          && newSpte == NPT.clearDirty(oldSpte);
    }
  },
  /** W is taken away, for the dirty log. */
  WRITE_PROTECT {
    @Override
    boolean allows(PageLevel level, long oldSpte, long newSpte) {
      return isSamePage(level, oldSpte, newSpte)
          && NPT.isWritable(oldSpte)
          && newSpte == NPT.writeProtect(oldSpte);
    }
  },
  /** W is taken from a huge leaf, and with it the right to give it back without a lookup. */
  WRITE_TRACK {
    @Override
    boolean allows(PageLevel level, long oldSpte, long newSpte) {
      return level.isAbove(PageLevel.LEVEL_4K)
          && isSamePage(level, oldSpte, newSpte)
          && NPT.isMmuWritable(oldSpte)
          && newSpte == NPT.writeTrack(oldSpte);
    }
  },
  /** The host asks whether a page is used: A is cleared. */
  AGE {
    @Override
    boolean allows(PageLevel level, long oldSpte, long newSpte) {
      return isSamePage(level, oldSpte, newSpte)
          && NPT.isAccessed(oldSpte)
          && newSpte == NPT.markForAccessTrack(oldSpte);
    }
  },
  /** A table is linked where nothing was. */
  LINK {
    @Override
    boolean allows(PageLevel level, long oldSpte, long newSpte) {
      return oldSpte == SpteFormat.NONPRESENT && isTable(level, newSpte);
    }
  },
  /** A huge leaf becomes a table of smaller ones. */
  SPLIT {
    @Override
    boolean allows(PageLevel level, long oldSpte, long newSpte) {
      return NPT.isPresentHuge(oldSpte) && isTable(level, newSpte);
    }
  },
  /** A table becomes a huge leaf, because the host maps the range huge by now. */
  PROMOTE {
    @Override
    boolean allows(PageLevel level, long oldSpte, long newSpte) {
      return isTable(level, oldSpte) && isFreshLeaf(level, newSpte);
    }
  },
  /** A leaf is unmapped. */
  ZAP_LEAF {
    @Override
    boolean allows(PageLevel level, long oldSpte, long newSpte) {
      return NPT.isPresentLeaf(oldSpte, level) && newSpte == SpteFormat.NONPRESENT;
    }
  },
  /** A table is taken down. */
  ZAP_TABLE {
    @Override
    boolean allows(PageLevel level, long oldSpte, long newSpte) {
      return isTable(level, oldSpte) && newSpte == SpteFormat.NONPRESENT;
    }
  },
  /** An entry of a table that was taken down can be used no more. */
  FREEZE {
    @Override
    boolean allows(PageLevel level, long oldSpte, long newSpte) {
      return oldSpte != SpteFormat.FROZEN && newSpte == SpteFormat.FROZEN;
    }
  };

  private static final SpteFormat NPT = SpteFormat.npt();

  /** Whether the rule allows this change. */
  abstract boolean allows(PageLevel level, long oldSpte, long newSpte);

  /** The rule that allows a change, if there is one. */
  static Optional<Transition> of(SpteChange change) {
    for (Transition rule : values()) {
      if (rule.allows(change.level(), change.oldSpte(), change.newSpte())) {
        return Optional.of(rule);
      }
    }
    return Optional.empty();
  }

  private static boolean isVacant(long spte) {
    return spte == SpteFormat.NONPRESENT || NPT.isMmio(spte);
  }

  private static boolean isTable(PageLevel level, long spte) {
    return NPT.isPresentTable(spte, level) && spte == NPT.makeNonleaf(NPT.pfn(spte));
  }

  /** A leaf as a fault makes it: writable and dirty, or neither; A is missing after a prefault. */
  private static boolean isFreshLeaf(PageLevel level, long spte) {
    return isLeaf(level, spte)
        && NPT.isUser(spte)
        && NPT.isWritabilityConsistent(spte)
        && NPT.isWritable(spte) == NPT.isDirty(spte);
  }

  private static boolean isSamePage(PageLevel level, long oldSpte, long newSpte) {
    return isLeaf(level, oldSpte)
        && isLeaf(level, newSpte)
        && NPT.pfn(oldSpte) == NPT.pfn(newSpte)
        && NPT.isUser(oldSpte) == NPT.isUser(newSpte)
        && NPT.isHostWritable(oldSpte) == NPT.isHostWritable(newSpte);
  }

  private static boolean isLeaf(PageLevel level, long spte) {
    return NPT.isPresentLeaf(spte, level)
        && NPT.isPresentHuge(spte) == level.isAbove(PageLevel.LEVEL_4K)
        && !level.isAbove(PageLevel.LEVEL_1G)
        && level.isAligned(NPT.pfn(spte));
  }
}
