package dev.septum.tdx;

import dev.septum.dpamt.ControlPages;
import dev.septum.dpamt.Dpamt;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.SharedWord;
import dev.septum.kvm.Host;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.KvmModule;
import dev.septum.tdx.module.TdxModule;
import dev.septum.tdx.module.TdxModuleConfig;

/** A host with the TDX module loaded: what all TDs on it share ({@code __tdx_bringup}). */
public final class TdxHost {

  /** HKIDs 1 to this can be given to TDs. */
  private static final int MAX_HKID = 63;

  private final Host host;
  private final TdxDesign design;
  private final TdxModule module;
  private final Seamcalls seamcalls;
  private final Dpamt dpamt;
  private final ControlPages controlPages;
  private final SharedWord hkidsInUse;
  private final SharedWord vmCount;
  private final KvmModule kvmModule;

  /** Brings a host of the sound design up with a module that covers all its memory. */
  public TdxHost(Host host, TdxModuleConfig config) {
    this(host, config, TdxDesign.SOUND);
  }

  /** The same in another design. */
  public TdxHost(Host host, TdxModuleConfig config, TdxDesign design) {
    this.host = host;
    this.design = design;
    this.module = new TdxModule(host.kernel(), config, host.pages().totalPages() * 4096);
    this.seamcalls = new Seamcalls(module, host.trace());
    this.dpamt =
        config.dynamicPamt()
            ? Dpamt.enabled(host.kernel(), host.pages(), new ModulePamt(seamcalls), design.dpamt())
            : Dpamt.disabled(host.kernel(), host.pages());
    this.controlPages = new ControlPages(dpamt, host.pages(), PageOwner.TD_CONTROL);
    this.hkidsInUse = host.kernel().word(1).named("HKIDs in use"); // HKID 0 is not private.
    this.vmCount = host.kernel().word(0).named("TDs");
    this.kvmModule = new KvmModule(host.kernel(), KernelGeneration.LINUX_7_1);
  }

  /** The machine. */
  public Host host() {
    return host;
  }

  /** Whose decisions KVM takes on this host. */
  public TdxDesign design() {
    return design;
  }

  /** The module, for injection, counts and checkers. */
  public TdxModule module() {
    return module;
  }

  /** The host's Dynamic PAMT accounting. */
  public Dpamt dpamt() {
    return dpamt;
  }

  /** The kvm module: parameters that hold for all VMs. */
  public KvmModule kvmModule() {
    return kvmModule;
  }

  Seamcalls seamcalls() {
    return seamcalls;
  }

  /** Whether private memory may be mapped at 2M: DEMOTE must not be interruptible without end. */
  public boolean supportsHugePages() {
    return module.config().enhancedDemoteInterruptibility();
  }

  /** Whether a leaf can be split without blocking it first, so under the read mmu_lock too. */
  public boolean supportsNonBlockingResize() {
    return module.config().nonBlockingResize();
  }

  /** Whether a TD may have 52-bit GPAs: a 5-level EPT, and a MAXPA above 48. */
  public boolean supportsFiveLevels() {
    return module.config().fiveLevel();
  }

  int nextVmId() {
    return (int) vmCount.addAndGet(1);
  }

  /** A free HKID, or -1 ({@code tdx_guest_keyid_alloc}). */
  int allocHkid() {
    while (true) {
      long used = hkidsInUse.get();
      int hkid = Long.numberOfTrailingZeros(~used);
      if (hkid > MAX_HKID) {
        return -1;
      }
      if (hkidsInUse.compareAndSet(used, used | 1L << hkid)) {
        return hkid;
      }
    }
  }

  void freeHkid(int hkid) {
    long used;
    do {
      used = hkidsInUse.get();
    } while (!hkidsInUse.compareAndSet(used, used & ~(1L << hkid)));
  }

  /** Where the HKID is in a physical address. */
  long hkidBits(int hkid) {
    return (long) hkid << module.config().hkidShift();
  }

  /** Pages for TDs' control structures. */
  ControlPages controlPages() {
    return controlPages;
  }
}
