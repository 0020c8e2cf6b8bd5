package dev.septum.lab.pamt;

import com.google.common.collect.ImmutableList;
import org.jspecify.annotations.Nullable;

/**
 * The PAMT of one host, computed and as printed.
 *
 * <p>JSON has the fields in the order in which they are declared here. Addresses are hexadecimal
 * strings, sizes whole numbers of KiB. A change of a name or a meaning changes {@link #FORMAT}; a
 * new field does not.
 *
 * @param format {@link #FORMAT}
 * @param memorySource what the TDMRs are computed from
 * @param reservedLimit reserved areas that the module takes in one TDMR
 * @param notes what was assumed, left out or cannot be known
 */
public record PamtReport(
    String format,
    String log,
    KernelSection kernel,
    ImmutableList<RangeRow> cmrs,
    String memorySource,
    ImmutableList<TdmrRow> tdmrs,
    StaticSection staticPamt,
    DynamicSection dynamicPamt,
    int reservedLimit,
    ImmutableList<ReservedRow> reserved,
    ImmutableList<String> notes,
    OutcomeSection outcome) {

  /** Name and version of the JSON form. */
  public static final String FORMAT = "septum-pamt/1";

  /**
   * What the log says about the module.
   *
   * @param module its version
   * @param keyIds private KeyIDs, the end excluded
   * @param initialization how it ended, with the line
   */
  public record KernelSection(
      @Nullable String module, @Nullable String keyIds, @Nullable String initialization) {}

  /** A range of convertible memory, and the line that names it. */
  public record RangeRow(String start, String end, long kib, int line) {}

  /** One TDMR and its static PAMT; {@code dynamicKib} is the static part of Dynamic PAMT. */
  public record TdmrRow(
      String start,
      String end,
      long gib,
      long pamt4kKib,
      long pamt2mKib,
      long pamt1gKib,
      long pamtKib,
      long dynamicKib) {}

  /**
   * The static PAMT of all TDMRs.
   *
   * @param printedKib what the kernel printed, and in which line; 0 for no line
   */
  public record StaticSection(
      long gib,
      long pamt4kKib,
      long pamt2mKib,
      long pamt1gKib,
      long computedKib,
      @Nullable Long printedKib,
      int printedLine) {}

  /**
   * The Dynamic PAMT that the host would need instead.
   *
   * @param inUse whether it is what the kernel printed
   * @param refcountsKib one counter for each 2 MiB up to the end of memory
   * @param sparseRefcountsKib the pages of them that memory belongs to
   * @param pairs 2 MiB ranges of the TDMRs: the page pairs if each needs one
   * @param worstCaseKib static part and all those pairs
   * @param pairsWithMemory 2 MiB ranges of the TDMRs that have memory in them
   * @param breakEvenPairs pairs at which Dynamic PAMT has cost as much as static PAMT
   */
  public record DynamicSection(
      boolean inUse,
      long bitmapKib,
      long pamt2mKib,
      long pamt1gKib,
      long staticKib,
      long refcountsKib,
      long sparseRefcountsKib,
      long pairs,
      long pairsKib,
      long worstCaseKib,
      long pairsWithMemory,
      long breakEvenPairs) {}

  /**
   * The reserved areas of one TDMR.
   *
   * @param holes areas that are not memory
   * @param holesBetweenCmrs the same for a kernel that asks the CMRs instead of its own map
   * @param pamtAreas the most areas that PAMTs inside of it can add
   * @param limitHitAt the first area over the limit, if the holes alone exceed it
   */
  public record ReservedRow(
      String tdmr, int holes, int holesBetweenCmrs, int pamtAreas, @Nullable String limitHitAt) {}

  /**
   * What the log and the computation have in common and what not.
   *
   * @param agrees whether they differ in nothing; so also if there was nothing to compare
   */
  public record OutcomeSection(
      boolean agrees, ImmutableList<String> agreements, ImmutableList<String> differences) {}
}
