package dev.septum.tdx.module;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.Maps;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.PointKind;
import dev.septum.kernel.SchedulingPoint;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A TDX module as a SEAMCALL target.
 *
 * <p>{@link #seamcall} may be called from any number of threads, each standing for a logical
 * processor. On any status but success nothing has changed, except HOST_PRIORITY flags and the
 * progress of an interrupted ACCEPT or PHYMEM.CACHE.WB.
 */
public final class TdxModule {

  private final ModuleState state;
  private final SchedulingPoint entry;
  private final SeamcallInjector injector = new SeamcallInjector();
  private final ConcurrentHashMap<SeamcallLeaf, Long> calls = new ConcurrentHashMap<>();

  private TdxModule(ModuleState state) {
    this.state = state;
    this.entry = state.kernel().schedulingPoint("SEAMCALL");
  }

  /**
   * A module that is READY, with all memory in one initialised TDMR.
   *
   * @param memoryBytes the TDMR's size, rounded up to whole GiB
   */
  public TdxModule(Kernel kernel, TdxModuleConfig config, long memoryBytes) {
    this(ModuleState.ready(kernel, config, memoryBytes));
  }

  /** A module that was just loaded on this machine: the host brings it up by SEAMCALLs. */
  public static TdxModule loaded(Kernel kernel, TdxModuleConfig config, Platform platform) {
    return new TdxModule(new ModuleState(kernel, config, platform));
  }

  /** Executes the SEAMCALL in {@code regs} on a processor without interrupts. */
  public void seamcall(SeamRegs regs) {
    seamcall(regs, LogicalProcessor.NONE);
  }

  /** Executes the SEAMCALL in {@code regs}; the results replace the operands. */
  public void seamcall(SeamRegs regs, LogicalProcessor processor) {
    entry.reached(PointKind.LOCAL);
    SeamcallLeaf leaf = Dispatcher.leafOf(regs, state.bringUp());
    if (leaf == null) {
      return;
    }
    long number = calls.merge(leaf, 1L, Long::sum);
    Injected injected = injector.arrangedFor(leaf, number, regs);
    Long status = injected.status();
    if (status != null) {
      regs.rax = status;
      return;
    }
    try (Seamcall call = new Seamcall(state, regs, processor, injected)) {
      LeafTable.run(leaf, call);
    }
  }

  /** Disturbs SEAMCALLs. */
  public SeamcallInjector injector() {
    return injector;
  }

  /** The emulator's own: chooses the software that runs on the vCPU with this TDVPR. */
  public void attachGuest(long tdvprHpa, TdGuest guest) {
    state.guests.put(tdvprHpa, guest);
  }

  /** What the host left in the TD_PARAMS page that RDX of MNG.INIT names. */
  public void writeTdParams(long hpa, TdParams params) {
    state.paramPages.put(hpa, params);
  }

  /** What the host left in the TDMR_INFO at this address. */
  public void writeTdmrInfo(long hpa, TdmrInfo info) {
    state.tdmrInfos.put(hpa, info);
  }

  /** The list of pointers to TDMR_INFOs that the host left at this address. */
  public void writeTdmrList(long hpa, List<Long> infos) {
    state.tdmrLists.put(hpa, ImmutableList.copyOf(infos));
  }

  /** The emulator's own: a fatal error, such as a machine check, hits the TD with this TDR. */
  public void breakTd(long tdrHpa) {
    state.td(tdrHpa).fatal.set(1);
  }

  /** The module's inside, for checkers and tests; KVM's side never uses it. */
  public TdxModuleView view() {
    return new TdxModuleView(state);
  }

  /** How many SEAMCALLs of this leaf there have been, disturbed ones among them. */
  public long callsOf(SeamcallLeaf leaf) {
    return calls.getOrDefault(leaf, 0L);
  }

  /** How many SEAMCALLs there have been of each leaf that was called. */
  public Map<SeamcallLeaf, Long> calls() {
    return Maps.immutableEnumMap(calls);
  }

  /** Version, features and platform. */
  public TdxModuleConfig config() {
    return state.config();
  }

  /** Everything the module remembers, for tests that break it. */
  ModuleState state() {
    return state;
  }
}
