package dev.septum.tdx.module;

import com.google.common.base.Verify;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.SharedWord;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * One TD: what its TDR and TDCS hold.
 *
 * <p>Plain fields change under the exclusive TDR page and are read under the shared one. Counters,
 * epochs and locks are shared words.
 */
final class Td {

  /** The fewest TDCX pages that make a TDCS. */
  static final int TDCS_PAGES = 6;

  /** The most TDCX pages: one more for each of three nested VMs. */
  static final int MAX_TDCS_PAGES = 9;

  /** Which TDCX page is the S-EPT root. */
  static final int ROOT_PAGE = 3;

  private final long tdrHpa;
  private final int hkid;
  private final HostPriorityLock opStateLock;
  private final HostPriorityLock treeLock;
  private final TlbEpochs epochs;
  private final SharedWord childCount;
  private final SharedWord vcpus;
  private final SharedWord associatedVcpus;
  private final MappingDigest mapping;
  private final TdControls controls;

  /** TDR.FATAL: not 0 once the TD is beyond help. */
  final SharedWord fatal;

  /** How many pages PAGE.RECLAIM took (for I20). */
  final SharedWord reclaimed;

  Lifecycle lifecycle = Lifecycle.HKID_ASSIGNED;
  OpState opState = OpState.UNINITIALIZED;
  final List<Long> tdcx = new ArrayList<>();
  final Measurement measurement = new Measurement();
  final Set<Long> x2apicIds = ConcurrentHashMap.newKeySet();
  private @Nullable TdParams params;
  private @Nullable SecureEpt sept;

  Td(Kernel kernel, long tdrHpa, int hkid) {
    this.tdrHpa = tdrHpa;
    this.hkid = hkid;
    opStateLock = HostPriorityLock.create(kernel);
    treeLock = HostPriorityLock.create(kernel);
    epochs = new TlbEpochs(kernel);
    childCount = kernel.word(0).named("TDR CHLDCNT");
    vcpus = kernel.word(0).named("TD NUM_VCPUS");
    associatedVcpus = kernel.word(0).named("TD NUM_ASSOC_VCPUS");
    mapping = new MappingDigest(kernel);
    controls = new TdControls(kernel);
    fatal = kernel.word(0).named("TD FATAL");
    reclaimed = kernel.word(0).named("TD reclaimed");
  }

  /** MNG.INIT: the TD gets its parameters, its S-EPT and its first epoch. */
  void initialize(TdParams newParams, SeptPages pages) {
    params = newParams;
    sept = new SecureEpt(pages, tdcx.get(ROOT_PAGE), newParams.gpaw() ? 4 : 3);
    controls.initialize(newParams);
    epochs.start();
    opState = OpState.INITIALIZED;
  }

  long tdrHpa() {
    return tdrHpa;
  }

  int hkid() {
    return hkid;
  }

  TdParams params() {
    return Verify.verifyNotNull(params, "TD is not initialized");
  }

  SecureEpt sept() {
    return Verify.verifyNotNull(sept, "TD is not initialized");
  }

  boolean isInitialized() {
    return sept != null;
  }

  HostPriorityLock opStateLock() {
    return opStateLock;
  }

  /** TDCS.SECURE_EPT_LOCK. */
  HostPriorityLock treeLock() {
    return treeLock;
  }

  TlbEpochs epochs() {
    return epochs;
  }

  /** Which page is where, as adding and removing pages left it. */
  MappingDigest mapping() {
    return mapping;
  }

  /** TD_CTLS. */
  TdControls controls() {
    return controls;
  }

  /** TDR.CHLDCNT: pages owned, in 4K units, without the TDR. */
  SharedWord childCount() {
    return childCount;
  }

  /** vCPUs initialised so far. */
  SharedWord vcpus() {
    return vcpus;
  }

  /** vCPUs whose state may still be cached on some processor. */
  SharedWord associatedVcpus() {
    return associatedVcpus;
  }

  /** The GPA bit that makes a GPA shared. */
  long sharedBit() {
    return 1L << (params().gpaw() ? 51 : 47);
  }

  /** Whether {@code gpa} is private and within the TD's GPA width. */
  boolean isPrivate(long gpa) {
    return gpa >= 0 && gpa < sharedBit();
  }

  /** Whether a guest may name the page at {@code gpa} in a TDCALL that takes these levels. */
  boolean isPageOf(long gpa, int level, int highestLevel) {
    return level >= 0
        && level <= highestLevel
        && (gpa & SeptEntry.bytes(level) - 1) == 0
        && isPrivate(gpa);
  }
}
