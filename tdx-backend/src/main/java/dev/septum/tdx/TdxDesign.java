package dev.septum.tdx;

import dev.septum.dpamt.DpamtShape;
import dev.septum.kernel.Gfp;
import dev.septum.kernel.LockMode;
import dev.septum.mmu.SplitDesign;
import java.util.Locale;

/**
 * Whose decisions the TDX side of KVM takes: those of the sound design, or those of the huge page
 * series as posted, defects included.
 *
 * @param name how users choose it
 * @param mmu what the TDP MMU does differently
 * @param dpamt how page pairs are got and put
 * @param splitTopupGfp how the split cache is filled
 * @param splits how a leaf of the Secure EPT is split
 * @param acceptLock which mmu_lock the split for an ACCEPT needs
 * @param faultCaches where a vCPU's pages for a fault wait
 */
public record TdxDesign(
    String name,
    SplitDesign mmu,
    DpamtShape dpamt,
    Gfp splitTopupGfp,
    Splits splits,
    AcceptLock acceptLock,
    FaultCaches faultCaches) {

  /** How a leaf of the Secure EPT is split. */
  public enum Splits {
    /** All or nothing. */
    SOUND {
      @Override
      LeafSplit of(KvmTdx kvm) {
        return new LeafSplitter(kvm);
      }
    },
    /** As posted in v3: a failure bugs the VM and leaves the leaf blocked. */
    POSTED_V3 {
      @Override
      LeafSplit of(KvmTdx kvm) {
        return new PostedLeafSplit(kvm);
      }
    };

    abstract LeafSplit of(KvmTdx kvm);

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** Which mmu_lock the split for an ACCEPT needs. */
  public enum AcceptLock {
    /** For read if the module splits a leaf without blocking it, else for write. */
    READ_IF_NOT_BLOCKING {
      @Override
      LockMode on(TdxHost host) {
        return host.supportsNonBlockingResize() ? LockMode.SHARED : LockMode.EXCLUSIVE;
      }
    },
    /** For write, whatever the module can do. */
    ALWAYS_WRITE {
      @Override
      LockMode on(TdxHost host) {
        return LockMode.EXCLUSIVE;
      }
    };

    abstract LockMode on(TdxHost host);
  }

  /** Where a vCPU's pages for a fault wait. */
  public enum FaultCaches {
    /** S-EPT pages and PAMT pages in a pool each. */
    POOLED {
      @Override
      FaultCache of(TdxHost host) {
        return new PooledFaultCache(host);
      }
    },
    /** In one stack, as in v4. */
    MIXED {
      @Override
      FaultCache of(TdxHost host) {
        return new MixedFaultCache(host);
      }
    };

    abstract FaultCache of(TdxHost host);
  }

  /** What the series should have done. */
  public static final TdxDesign SOUND =
      new TdxDesign(
          "tdx",
          SplitDesign.SOUND,
          DpamtShape.V6,
          Gfp.KERNEL_ACCOUNT,
          Splits.SOUND,
          AcceptLock.READ_IF_NOT_BLOCKING,
          FaultCaches.POOLED);

  /** Version 3 of the huge pages on version 4 of Dynamic PAMT, as posted. */
  public static final TdxDesign POSTED_V3 =
      new TdxDesign(
          "tdx-v3",
          SplitDesign.POSTED_V3,
          DpamtShape.V4,
          Gfp.KERNEL,
          Splits.POSTED_V3,
          AcceptLock.ALWAYS_WRITE,
          FaultCaches.MIXED);

  /** The same with other decisions of the MMU. */
  public TdxDesign withMmu(SplitDesign design) {
    return new TdxDesign(name, design, dpamt, splitTopupGfp, splits, acceptLock, faultCaches);
  }

  /** The same with other page pairs. */
  public TdxDesign withDpamt(DpamtShape shape) {
    return new TdxDesign(name, mmu, shape, splitTopupGfp, splits, acceptLock, faultCaches);
  }

  /** The same with other splits of a leaf. */
  public TdxDesign withSplits(Splits newSplits) {
    return new TdxDesign(name, mmu, dpamt, splitTopupGfp, newSplits, acceptLock, faultCaches);
  }

  /** The same under another name. */
  public TdxDesign withName(String newName) {
    return new TdxDesign(newName, mmu, dpamt, splitTopupGfp, splits, acceptLock, faultCaches);
  }
}
