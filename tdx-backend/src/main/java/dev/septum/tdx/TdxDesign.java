package dev.septum.tdx;

import dev.septum.dpamt.DpamtShape;
import dev.septum.kernel.Gfp;
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
 */
public record TdxDesign(
    String name, SplitDesign mmu, DpamtShape dpamt, Gfp splitTopupGfp, Splits splits) {

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

  /** What the series should have done. */
  public static final TdxDesign SOUND =
      new TdxDesign("tdx", SplitDesign.SOUND, DpamtShape.V6, Gfp.KERNEL_ACCOUNT, Splits.SOUND);

  /** Version 3 of the huge pages on version 4 of Dynamic PAMT, as posted. */
  public static final TdxDesign POSTED_V3 =
      new TdxDesign("tdx-v3", SplitDesign.POSTED_V3, DpamtShape.V4, Gfp.KERNEL, Splits.POSTED_V3);

  /** The same with other decisions of the MMU. */
  public TdxDesign withMmu(SplitDesign design) {
    return new TdxDesign(name, design, dpamt, splitTopupGfp, splits);
  }
}
