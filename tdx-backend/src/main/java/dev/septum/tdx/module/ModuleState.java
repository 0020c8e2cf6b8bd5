package dev.septum.tdx.module;

import static com.google.common.base.Preconditions.checkArgument;

import com.google.common.base.Verify;
import com.google.common.collect.ImmutableList;
import dev.septum.kernel.Kernel;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/** Everything that the module remembers between SEAMCALLs. */
final class ModuleState {

  private static final long GIB = 1L << 30;

  /** Where the PAMT of a module that starts READY is: in no memory that anybody can name. */
  private static final PhysicalRange NOWHERE = new PhysicalRange(0, 0);

  private final Kernel kernel;
  private final TdxModuleConfig config;
  private final Platform platform;
  private final BringUp bringUp;
  private @Nullable Pamt pamt;
  private final SeptPages septPages;
  private final PageContents contents;
  private final KeyTable keys;
  private final SharexLock cacheWritebackLock;

  /** TDs by the HPA of their TDR; a row comes and goes under the TDR page's exclusive lock. */
  final ConcurrentHashMap<Long, Td> tds = new ConcurrentHashMap<>();

  /** vCPUs by the HPA of their TDVPR; a row comes and goes under that page's exclusive lock. */
  final ConcurrentHashMap<Long, TdVcpu> vcpus = new ConcurrentHashMap<>();

  /** The emulator's own: which software runs on which vCPU, by TDVPR. */
  final ConcurrentHashMap<Long, TdGuest> guests = new ConcurrentHashMap<>();

  /** The emulator's own: what the host wrote into TD_PARAMS pages. */
  final ConcurrentHashMap<Long, TdParams> paramPages = new ConcurrentHashMap<>();

  /** The emulator's own: what the host wrote into TDMR_INFO structures. */
  final ConcurrentHashMap<Long, TdmrInfo> tdmrInfos = new ConcurrentHashMap<>();

  /** The emulator's own: the lists of pointers to them. */
  final ConcurrentHashMap<Long, List<Long>> tdmrLists = new ConcurrentHashMap<>();

  /** Whether an interrupted PHYMEM.CACHE.WB can be resumed; under the write-back lock. */
  boolean cacheWritebackStarted;

  /** The state of a module that was just loaded. */
  ModuleState(Kernel kernel, TdxModuleConfig config, Platform platform) {
    this.kernel = kernel;
    this.config = config;
    this.platform = platform;
    bringUp = new BringUp(kernel);
    septPages = new SeptPages(kernel);
    contents = new PageContents();
    keys = new KeyTable(kernel);
    cacheWritebackLock = new SharexLock(kernel);
  }

  /** The state of a READY module with one TDMR, whole GiBs that hold all memory. */
  static ModuleState ready(Kernel kernel, TdxModuleConfig config, long memoryBytes) {
    checkArgument(
        !config.dynamicPamt() || config.fitsDynamicPamt(),
        "Dynamic PAMT with the HKID field at bit %s",
        config.hkidShift());
    ModuleState state = new ModuleState(kernel, config, Platform.of(1, memoryBytes));
    PhysicalRange all = new PhysicalRange(0, (memoryBytes + GIB - 1) & -GIB);
    TdmrInfo info = new TdmrInfo(all, Collections.nCopies(3, NOWHERE), ImmutableList.of());
    state.configure(ImmutableList.of(info), config.dynamicPamt(), config.globalHkid());
    state.pamt().tdmrs().forEach(tdmr -> tdmr.initializeTo(tdmr.range().end()));
    state.bringUp.enter(SysState.READY);
    return state;
  }

  /** SYS.CONFIG: what the host has decided. Under the exclusive global lock. */
  void configure(List<TdmrInfo> infos, boolean dynamicPamt, int globalHkid) {
    pamt = new Pamt(kernel, dynamicPamt, infos);
    keys.assign(globalHkid);
  }

  Kernel kernel() {
    return kernel;
  }

  TdxModuleConfig config() {
    return config;
  }

  Platform platform() {
    return platform;
  }

  BringUp bringUp() {
    return bringUp;
  }

  /** The PAMT, which there is once SYS.CONFIG succeeded. */
  Pamt pamt() {
    return Verify.verifyNotNull(pamt, "SYS.CONFIG is pending");
  }

  boolean isConfigured() {
    return pamt != null;
  }

  PageContents contents() {
    return contents;
  }

  SeptPages septPages() {
    return septPages;
  }

  KeyTable keys() {
    return keys;
  }

  /** WBT entry lock. */
  SharexLock cacheWritebackLock() {
    return cacheWritebackLock;
  }

  /** The module has cleared a page of this level: a guest may see what is in it. */
  void clearPage(long hpa, int level) {
    contents.zero(hpa, SeptEntry.pages(level));
    if (level == 0) {
      pamt().contents(hpa).trySet(hpa);
    } else {
      pamt().contents(hpa).setRegion(hpa);
    }
  }

  /** The TD whose TDR is here; the page's type has been checked. */
  Td td(long tdrHpa) {
    Td td = tds.get(tdrHpa);
    if (td == null) {
      throw new IllegalStateException("no TD at TDR 0x" + Long.toHexString(tdrHpa));
    }
    return td;
  }

  /** The vCPU whose TDVPR is here; the page's type has been checked. */
  TdVcpu vcpu(long tdvprHpa) {
    TdVcpu vcpu = vcpus.get(tdvprHpa);
    if (vcpu == null) {
      throw new IllegalStateException("no vCPU at TDVPR 0x" + Long.toHexString(tdvprHpa));
    }
    return vcpu;
  }
}
