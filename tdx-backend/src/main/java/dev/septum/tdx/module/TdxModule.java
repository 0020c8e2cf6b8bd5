package dev.septum.tdx.module;

import com.google.common.collect.Maps;
import dev.septum.kernel.Kernel;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A TDX module that is loaded and READY, with all memory in one initialised TDMR.
 *
 * <p>{@link #seamcall} may be called from any number of threads, each standing for a logical
 * processor. On any status but success nothing has changed, except HOST_PRIORITY flags and the
 * progress of an interrupted ACCEPT or PHYMEM.CACHE.WB.
 */
public final class TdxModule {

  private static final long RESERVED_RAX = 0xFFFFFFFFFF000000L;

  private final ModuleState state;
  private final SeamcallInjector injector = new SeamcallInjector();
  private final ConcurrentHashMap<SeamcallLeaf, Long> calls = new ConcurrentHashMap<>();

  /**
   * A module for a machine with this much memory.
   *
   * @param memoryBytes the TDMR's size, rounded up to whole GiB
   */
  public TdxModule(Kernel kernel, TdxModuleConfig config, long memoryBytes) {
    state = new ModuleState(kernel, config, memoryBytes);
  }

  /** Executes the SEAMCALL in {@code regs} on a processor without interrupts. */
  public void seamcall(SeamRegs regs) {
    seamcall(regs, LogicalProcessor.NONE);
  }

  /** Executes the SEAMCALL in {@code regs}; the results replace the operands. */
  public void seamcall(SeamRegs regs, LogicalProcessor processor) {
    Optional<SeamcallLeaf> leaf = leafOf(regs.rax);
    if (leaf.isEmpty()) {
      regs.rax = TdxStatus.TDX_OPERAND_INVALID | OperandId.RAX;
      return;
    }
    calls.merge(leaf.get(), 1L, Long::sum);
    Long injected = injector.statusFor(leaf.get());
    if (injected != null) {
      regs.rax = injected;
      return;
    }
    try (Seamcall call = new Seamcall(state, regs, processor)) {
      LeafTable.run(leaf.get(), call);
    }
  }

  /** Makes SEAMCALLs fail. */
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

  /** The module's inside, for checkers and tests; KVM's side never uses it. */
  public TdxModuleView view() {
    return new TdxModuleView(state);
  }

  /** How many SEAMCALLs of this leaf there have been, injected failures among them. */
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

  /** The leaf that RAX asks for; empty if it has reserved bits, or names what does not exist. */
  private static Optional<SeamcallLeaf> leafOf(long rax) {
    int version = (int) (rax >>> 16) & 0xFF;
    return (rax & RESERVED_RAX) == 0
        ? SeamcallLeaf.of((int) rax & 0xFFFF).filter(leaf -> version <= leaf.highestVersion())
        : Optional.empty();
  }
}
