package dev.septum.tdx;

import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.SharedWord;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.Stats;
import dev.septum.kvm.Vcpu;
import dev.septum.kvm.VmType;
import dev.septum.mmu.HostMm;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.MmuParams;
import dev.septum.mmu.SpteFormat;
import java.util.ArrayList;
import java.util.List;

/** A TD as KVM has it ({@code struct kvm_tdx}). */
public final class KvmTdx extends Kvm {

  /** GPA bit 47 selects shared memory, in a TD with 48-bit GPAs ({@code TDX_SHARED_BIT_PWL_4}). */
  public static final long SHARED_BIT = 1L << 47;

  /** GPA bit 51 does so in a TD with 52-bit GPAs ({@code TDX_SHARED_BIT_PWL_5}). */
  public static final long SHARED_BIT_PWL_5 = 1L << 51;

  /** The longest range that one MapGPA exit asks user space to convert, as KVM has it: 2 MiB. */
  public static final long MAP_GPA_MAX_LEN = 2L << 20;

  private final TdxHost tdxHost;
  private final KvmMmu mmu;
  private final SplitCache splitCache;
  private final NoVcpus noVcpus;
  private final SecureEpt secureEpt;
  private final LeafSplit leafSplit;
  private final Stats<TdxCounter> counters;
  private final SharedWord waitForSeptZap;
  private final long mapGpaMaxLen;

  private volatile TdState state = TdState.UNINITIALIZED;
  private volatile int hkid = -1;
  private long tdr = PageAllocator.NO_PAGE;
  private final List<Long> tdcx = new ArrayList<>();

  /** The page that the next PAGE.ADD copies from ({@code page_add_src}). */
  private long pageAddSource = PageAllocator.NO_PAGE;

  /**
   * A TD without memory and vCPUs ({@code tdx_vm_init}).
   *
   * @param hostMm where its shared memory comes from
   * @param mapGpaMaxLen bytes in one piece of a MapGPA, {@link #MAP_GPA_MAX_LEN} in KVM
   */
  public KvmTdx(TdxHost tdxHost, HostMm hostMm, long mapGpaMaxLen) {
    super(tdxHost.nextVmId(), tdxHost.host(), new TdxX86Ops(tdxHost.design().name()), VmType.TDX);
    this.tdxHost = tdxHost;
    MmuParams params = MmuParams.of(SpteFormat.eptForTd()).withSplitDesign(tdxHost.design().mmu());
    this.mmu = new KvmMmu(this, tdxHost.kvmModule(), params, hostMm);
    this.splitCache = new SplitCache(this);
    this.noVcpus = new NoVcpus(this);
    this.secureEpt = new SecureEpt(this);
    this.leafSplit = tdxHost.design().splits().of(this);
    this.counters = new Stats<>(kernel(), TdxCounter.class);
    this.waitForSeptZap = kernel().word(0).named("wait_for_sept_zap");
    this.mapGpaMaxLen = mapGpaMaxLen;
  }

  /** The TD behind a VM ({@code to_kvm_tdx}). */
  static KvmTdx of(Kvm kvm) {
    return (KvmTdx) kvm;
  }

  /** The host that the TD runs on. */
  public TdxHost tdxHost() {
    return tdxHost;
  }

  /** The TD's MMU. */
  public KvmMmu mmu() {
    return mmu;
  }

  /** What the TD's side of KVM counts. */
  public Stats<TdxCounter> counters() {
    return counters;
  }

  /** Pages in the VM's split cache. Takes no lock. */
  public int splitCacheCount() {
    return splitCache.count();
  }

  /** The GPA bit that selects shared memory in this TD; 0 before KVM_TDX_INIT_VM. */
  public long sharedBit() {
    return mmu.gfnDirectBits() << 12;
  }

  /** How far the TD has come. */
  public TdState state() {
    return state;
  }

  /** pfn of the TD's root control page; what a checker asks the module about. */
  public long tdr() {
    return tdr;
  }

  /** Whether the TD's private memory has a key: from creation until its destruction begins. */
  boolean hasHkid() {
    return hkid >= 0;
  }

  int hkid() {
    return hkid;
  }

  void setHkid(int newHkid) {
    hkid = newHkid;
  }

  /** The HKID as address bits. */
  long hkidBits() {
    return tdxHost.hkidBits(hkid);
  }

  void setState(TdState newState) {
    state = newState;
  }

  void setTdr(long pfn) {
    tdr = pfn;
  }

  List<Long> tdcx() {
    return tdcx;
  }

  long pageAddSource() {
    return pageAddSource;
  }

  void setPageAddSource(long pfn) {
    pageAddSource = pfn;
  }

  SplitCache splitCache() {
    return splitCache;
  }

  SecureEpt secureEpt() {
    return secureEpt;
  }

  LeafSplit leafSplit() {
    return leafSplit;
  }

  TdxDesign design() {
    return tdxHost.design();
  }

  NoVcpus noVcpus() {
    return noVcpus;
  }

  /** Whether vCPUs must stay out of the guest for a moment ({@code wait_for_sept_zap}). */
  boolean isWaitingForSeptZap() {
    return waitForSeptZap.get() != 0;
  }

  void setWaitForSeptZap(boolean wait) {
    waitForSeptZap.set(wait ? 1 : 0);
  }

  long mapGpaMaxLen() {
    return mapGpaMaxLen;
  }

  /** The TD's vCPUs. */
  public List<VcpuTdx> tdVcpus() {
    List<VcpuTdx> all = new ArrayList<>();
    for (Vcpu vcpu : vcpus()) {
      all.add((VcpuTdx) vcpu);
    }
    return all;
  }

  /** Counts the kicks that {@link Kvm#kickAllVcpus} needed. */
  void kickVcpus() {
    counters.add(TdxCounter.KICKS, kickAllVcpus());
  }
}
