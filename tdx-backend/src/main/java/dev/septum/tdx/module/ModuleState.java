package dev.septum.tdx.module;

import dev.septum.kernel.Kernel;
import java.util.concurrent.ConcurrentHashMap;

/** Everything that the module remembers between SEAMCALLs. */
final class ModuleState {

  private final Kernel kernel;
  private final TdxModuleConfig config;
  private final Pamt pamt;
  private final SeptPages septPages;
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

  /** Whether an interrupted PHYMEM.CACHE.WB can be resumed; under the write-back lock. */
  boolean cacheWritebackStarted;

  ModuleState(Kernel kernel, TdxModuleConfig config, long memoryBytes) {
    this.kernel = kernel;
    this.config = config;
    pamt = new Pamt(kernel, config.dynamicPamt(), memoryBytes);
    septPages = new SeptPages(kernel);
    keys = new KeyTable(kernel, config.globalHkid());
    cacheWritebackLock = new SharexLock(kernel);
  }

  Kernel kernel() {
    return kernel;
  }

  TdxModuleConfig config() {
    return config;
  }

  Pamt pamt() {
    return pamt;
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
