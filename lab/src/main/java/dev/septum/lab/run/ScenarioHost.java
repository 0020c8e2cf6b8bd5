package dev.septum.lab.run;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Host;
import dev.septum.kvm.TraceSink;
import dev.septum.kvm.VmType;
import dev.septum.lab.scenario.Counters;
import dev.septum.lab.scenario.HostSetup;
import dev.septum.lab.scenario.Scenario;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import dev.septum.lab.scenario.SlotSetup;
import dev.septum.lab.scenario.VmSetup;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.KvmModule;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.check.HostContents;
import dev.septum.tdx.check.HostInvariants;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** The machine of a scenario with everything on it. */
public final class ScenarioHost {

  private final HookedKernel kernel;
  private final TdxHost tdx;
  private final KvmModule module;
  private final Map<String, GuestMemfd> files = new LinkedHashMap<>();
  private final Map<String, EmulatedVm> vms = new LinkedHashMap<>();

  /**
   * Sets everything up.
   *
   * @throws ScenarioException if KVM refuses something; what was taken goes with the host
   */
  static ScenarioHost of(HookedKernel kernel, ScenarioFile file, TdxDesign design, TraceSink trace)
      throws ScenarioException {
    try {
      return new ScenarioHost(kernel, file, design, trace);
    } catch (SetupException e) {
      throw new ScenarioException(String.valueOf(e.getMessage()));
    }
  }

  private ScenarioHost(HookedKernel kernel, ScenarioFile file, TdxDesign design, TraceSink trace) {
    this.kernel = kernel;
    Scenario scenario = file.scenario();
    HostSetup setup = scenario.host();
    long seed = setup.seed();
    PageAllocator pages =
        new PageAllocator(kernel, setup.memory().value(), setup.placement().placement(), seed);
    Host host = new Host(kernel, pages, trace);
    tdx = new TdxHost(host, config(setup), design);
    module =
        setup.kernel() == HostSetup.KernelName.LINUX_6_12
            ? new KvmModule(kernel, KernelGeneration.LINUX_6_12)
            : tdx.kvmModule();
    setup
        .parameters()
        .forEach(
            (name, value) ->
                must(file, "/host/parameters/" + name, module.setParameter(name, value)));
    scenario
        .files()
        .forEach(
            (name, f) ->
                files.put(
                    name,
                    new GuestMemfd(kernel, pages, f.size().frames(), f.folios().pageLevel())));
    scenario.vms().forEach((name, vm) -> addVm(file, name, vm));
  }

  private static TdxModuleConfig config(HostSetup setup) {
    return TdxModuleConfig.defaults()
        .withDynamicPamt(setup.dynamicPamt())
        .withEnhancedDemoteInterruptibility(setup.enhancedDemoteInterruptibility())
        .withNonBlockingResize(setup.nonBlockingResize());
  }

  private void addVm(ScenarioFile file, String name, VmSetup setup) {
    String at = "/vms/" + name;
    EmulatedVm vm;
    try {
      vm =
          setup.type().type() == VmType.TDX
              ? new TdVm(name, tdx, setup, this::file)
              : new OrdinaryVm(name, vms.size() + 1, tdx.host(), module, setup, this::file);
    } catch (SetupException | Vmm.VmmException e) {
      throw failed(file, at, String.valueOf(e.getMessage()));
    }
    vms.put(name, vm);
    for (int i = 0; i < setup.slots().size(); i++) {
      SlotSetup slot = setup.slots().get(i);
      Errno error;
      try {
        error = vm.addSlot(slot);
      } catch (IllegalStateException e) {
        throw failed(file, at + "/slots/" + i, String.valueOf(e.getMessage()));
      }
      must(file, at + "/slots/" + i, error);
    }
  }

  private static void must(ScenarioFile file, String at, Errno error) {
    if (error.isError()) {
      throw failed(
          file,
          at,
          error == Errno.ENOMEM
              ? "the host has not enough memory for it"
              : "KVM refuses it: " + error);
    }
  }

  private static SetupException failed(ScenarioFile file, String at, String why) {
    return new SetupException(file.placeOf(at) + ": " + why);
  }

  public HookedKernel kernel() {
    return kernel;
  }

  public TdxHost tdx() {
    return tdx;
  }

  public PageAllocator pages() {
    return tdx.host().pages();
  }

  KvmModule module() {
    return module;
  }

  public String backend() {
    return tdx.design().name();
  }

  public GuestMemfd file(String name) {
    GuestMemfd file = files.get(name);
    if (file == null) {
      throw new IllegalArgumentException("no file " + name);
    }
    return file;
  }

  EmulatedVm vm(String name) {
    EmulatedVm vm = vms.get(name);
    if (vm == null) {
      throw new IllegalArgumentException("no VM " + name);
    }
    return vm;
  }

  public ImmutableList<String> fileNames() {
    return ImmutableList.copyOf(files.keySet());
  }

  ImmutableList<String> vmNames() {
    return ImmutableList.copyOf(vms.keySet());
  }

  public List<EmulatedVm> livingVms() {
    return vms.values().stream().filter(vm -> !vm.isDestroyed()).toList();
  }

  /** Counters of the host by their names. */
  Map<String, Long> counters() {
    Map<String, Long> all = new TreeMap<>(tdx.dpamt().counters().toMap());
    all.put(Counters.PAIRS, tdx.dpamt().pairsInstalled());
    return all;
  }

  /** Pages by the tags of their owners. */
  ImmutableMap<String, Long> pagesByOwner() {
    ImmutableMap.Builder<String, Long> owned = ImmutableMap.builder();
    pages().census().forEach((owner, count) -> owned.put(owner.tag(), count));
    return owned.buildOrThrow();
  }

  /** Pages of each file that have memory. */
  ImmutableMap<String, Long> allocated() {
    ImmutableMap.Builder<String, Long> pages = ImmutableMap.builder();
    files.forEach((name, file) -> pages.put(name, file.allocatedFrames()));
    return pages.buildOrThrow();
  }

  /** One sentence for each invariant that does not hold. Nothing may run meanwhile. */
  public List<String> violations() {
    ImmutableList.Builder<KvmTdx> tds = ImmutableList.builder();
    ImmutableList.Builder<KvmMmu> ordinary = ImmutableList.builder();
    ImmutableSet.Builder<GuestMemfd> all = ImmutableSet.builder();
    all.addAll(files.values());
    long userPages = 0;
    for (EmulatedVm vm : livingVms()) {
      userPages += vm.userPages();
      if (vm instanceof TdVm td) {
        tds.add(td.td());
        all.addAll(td.ownFiles());
      } else {
        ordinary.add(vm.mmu());
      }
    }
    kernel.rcu().barrier();
    return HostInvariants.violations(
        tdx, new HostContents(tds.build(), ordinary.build(), userPages, all.build()));
  }

  /** Nothing is injected any more. */
  void stopInjecting() {
    kernel.clearHooks();
    pages().faults().clear();
    tdx.module().injector().clear();
  }

  /** Everything goes; one sentence for each kind of page that did not come back. */
  public List<String> tearDown() {
    stopInjecting();
    vms.values().forEach(EmulatedVm::destroy);
    files.values().forEach(GuestMemfd::release);
    kernel.rcu().barrier();
    List<String> left = new ArrayList<>();
    pages()
        .taken()
        .forEach(
            (owner, count) ->
                left.add("in the end %s still has %d page(s)".formatted(owner.tag(), count)));
    pages()
        .objects()
        .forEach((slab, count) -> left.add("in the end %d %s(s) are left".formatted(count, slab)));
    return left;
  }
}
