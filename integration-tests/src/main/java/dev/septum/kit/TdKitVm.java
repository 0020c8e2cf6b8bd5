package dev.septum.kit;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.Capability;
import dev.septum.kvm.Errno;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Host;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.VcpuMmu;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.TdBackend;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.VcpuTdx;
import dev.septum.tdx.check.HostInvariants;
import dev.septum.tdx.check.TdExternalTable;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;

/** A TD, built and finalized; its first page is measured. */
public final class TdKitVm extends KitVm {

  private static final TdLayout.Region MEMORY = new TdLayout.Region(0, END << 12);
  private static final TdLayout.Region FIRMWARE = new TdLayout.Region(0, 4096);

  private final TdxHost tdx;
  private final List<Vmm> all;
  private final Vmm vmm;

  TdKitVm(TdBackend backend, Host host) {
    this(
        backend,
        host,
        TdxModuleConfig.defaults()
            .withNonBlockingResize(backend.capabilities().contains(Capability.SHARED_SPLIT)));
  }

  /** A TD on a host whose module is configured like that. */
  public TdKitVm(TdBackend backend, Host host, TdxModuleConfig config) {
    this(backend, new TdxHost(host, config, backend.design()), new ArrayList<>());
  }

  private TdKitVm(TdBackend backend, TdxHost tdx, List<Vmm> all) {
    super(backend, tdx.host());
    this.tdx = tdx;
    this.all = all;
    this.vmm =
        new Vmm(
            tdx,
            new TdLayout(
                ImmutableList.of(MEMORY),
                FIRMWARE,
                2,
                KvmTdx.MAP_GPA_MAX_LEN,
                true,
                PageLevel.LEVEL_2M));
    all.add(vmm);
  }

  /** The host with its module, for injection. */
  public TdxHost tdx() {
    return tdx;
  }

  @Override
  public Kvm kvm() {
    return vmm.kvm();
  }

  @Override
  public KvmMmu mmu() {
    return vmm.kvm().mmu();
  }

  @Override
  public List<VcpuMmu> vcpus() {
    return vmm.vcpus().stream().map(VcpuTdx::mmu).toList();
  }

  @Override
  public ExternalTable external() {
    return new TdExternalTable(vmm.kvm());
  }

  @Override
  public List<String> violations() {
    return HostInvariants.violations(tdx, all);
  }

  @Override
  GuestMemfd file() {
    return vmm.files().get(0);
  }

  @Override
  Errno convert(GfnRange range, boolean toPrivate) {
    return vmm.convert(range.start() << 12, range.pages() << 12, toPrivate);
  }

  @Override
  boolean refuseNextSplit() {
    tdx.module()
        .injector()
        .failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, TdxStatus.TDX_OPERAND_INVALID);
    return true;
  }

  @Override
  KitVm another() {
    return new TdKitVm((TdBackend) backend(), tdx, all);
  }

  @Override
  void closeVm() {
    all.remove(vmm);
    vmm.close();
  }
}
