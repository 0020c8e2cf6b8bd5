package dev.septum.lab.run;

import com.google.common.collect.ImmutableList;
import dev.septum.dpamt.PamtCounter;
import dev.septum.kvm.Splat;
import dev.septum.tdx.TdxHost;
import java.util.List;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A host on which something was made to fail, held against what KVM owes it then: every invariant,
 * and every page in the end. It may bug a VM only for the reasons for which every design must.
 */
public final class AfterFailures {

  /** The VM refuses further work. */
  private static final String BUGGED = "bugged";

  /**
   * Why KVM bugs a VM whatever the design: what it maps and removes must not be refused, and a leaf
   * that was blocked for a split must come free again.
   */
  private static final Pattern OWED =
      Pattern.compile(
          "SEAMCALL (TDH_MEM_PAGE_AUG|TDH_MEM_SEPT_ADD|TDH_MEM_RANGE_BLOCK|TDH_MEM_TRACK"
              + "|TDH_MEM_PAGE_REMOVE|TDH_PHYMEM_PAGE_WBINVD) failed"
              + "|leaf stays blocked after a failed split");

  private static final Pattern USERS = Pattern.compile(" has (\\d+) users, refcount (\\d+)$");

  /** A violation that a bugged VM does not excuse. */
  private static final String GIVEN_AWAY = " still has pages that the host took for other uses";

  private final ScenarioHost host;
  private final boolean bugged;
  private final String kind;
  private final ImmutableList<String> findings;
  private boolean pagesAreLost;

  /**
   * Looks at a host that nobody works on.
   *
   * @param madeToFail whether a SEAMCALL was made to fail, by its name
   */
  public AfterFailures(ScenarioHost host, Predicate<String> madeToFail) {
    this.host = host;
    this.bugged = isBugged(host);
    ImmutableList.Builder<String> found = ImmutableList.builder();
    List<String> violations = host.violations();
    if (bugged) {
      String splat = splat(host);
      List<String> givenAway = violations.stream().filter(v -> v.contains(GIVEN_AWAY)).toList();
      boolean owed = isOwed(splat, madeToFail);
      if (!owed) {
        found.add("the VM is bugged: " + splat).addAll(givenAway);
      }
      kind =
          BUGGED
              + ": "
              + splat.replaceFirst(": .*", "")
              + (owed && !givenAway.isEmpty() ? ", the host reuses pages of the TD" : "");
    } else {
      kind = "";
      violations.stream().filter(v -> !isOwed(v)).forEach(found::add);
    }
    findings = found.build();
  }

  /** Whether KVM has bugged a VM of the host. */
  public static boolean isBugged(ScenarioHost host) {
    return host.livingVms().stream().anyMatch(vm -> vm.kvm().isBugged());
  }

  /** Whether it had bugged one when this looked. */
  public boolean isBugged() {
    return bugged;
  }

  /** Why it bugged a VM; empty if it did not. */
  public String kind() {
    return kind;
  }

  /** What must not be. */
  public ImmutableList<String> findings() {
    return findings;
  }

  /** Everything goes; what is left and must not be. */
  public ImmutableList<String> tearDown() {
    List<String> left = host.tearDown();
    pagesAreLost = bugged && !left.isEmpty();
    return pagesAreLost
        ? ImmutableList.of()
        : left.stream().filter(l -> !isOwed(l)).collect(ImmutableList.toImmutableList());
  }

  /** What did not come back and need not, as the end of a sentence; empty if nothing. */
  public String lost() {
    return (pagesAreLost ? ", pages are lost" : "")
        + (pairsKept() > 0 ? ", a page pair stays" : "");
  }

  /** Only a SEAMCALL that was made to fail may bug a VM. */
  private static boolean isOwed(String splat, Predicate<String> madeToFail) {
    Matcher matcher = OWED.matcher(splat);
    return matcher.find() && (matcher.group(1) == null || madeToFail.test(matcher.group(1)));
  }

  /**
   * Whether a violation is what every design leaves behind: a pair that PAMT.REMOVE was refused for
   * stays where it is, and keeps a count of 1.
   */
  private boolean isOwed(String violation) {
    long kept = pairsKept();
    return kept > 0
        && (isOneTooMany(violation)
            || violation.equals("in the end pamt_page still has %d page(s)".formatted(2 * kept)));
  }

  /** A count of 1 more than users: the kept one's, which others may have joined since. */
  private static boolean isOneTooMany(String violation) {
    Matcher matcher = USERS.matcher(violation);
    return matcher.find()
        && Long.parseLong(matcher.group(2)) == Long.parseLong(matcher.group(1)) + 1;
  }

  private long pairsKept() {
    TdxHost tdx = host.tdx();
    return tdx == null ? 0 : tdx.dpamt().counters().get(PamtCounter.REMOVE_FAILURES);
  }

  /** The report of the first broken invariant. */
  private static String splat(ScenarioHost host) {
    return host.livingVms().stream()
        .flatMap(vm -> Stream.ofNullable(vm.kvm().splat()))
        .map(Splat::expression)
        .findFirst()
        .orElse("nobody says why");
  }
}
