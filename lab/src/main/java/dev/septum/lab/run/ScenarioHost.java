package dev.septum.lab.run;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Host;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.TraceSink;
import dev.septum.kvm.VmType;
import dev.septum.lab.backend.Machine;
import dev.septum.lab.scenario.BackendCheck;
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
import dev.septum.mmu.vmm.BackendInvariants;
import dev.septum.mmu.vmm.BackendVm;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.check.HostContents;
import dev.septum.tdx.check.HostInvariants;
import dev.septum.tdx.module.SeamcallInjector;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** The machine of a scenario with everything on it. */
public final class ScenarioHost {

  private final HookedKernel kernel;
  private final Machine machine;
  private final Map<String, GuestMemfd> files = new LinkedHashMap<>();
  private final Map<String, EmulatedVm> vms = new LinkedHashMap<>();

  /**
   * Sets everything up.
   *
   * @throws ScenarioException if KVM refuses something; what was taken goes with the host
   */
  static ScenarioHost of(
      HookedKernel kernel, ScenarioFile file, KvmBackend backend, TraceSink trace)
      throws ScenarioException {
    BackendCheck.checkSteps(file, backend);
    try {
      return new ScenarioHost(kernel, file, backend, trace);
    } catch (SetupException e) {
      throw new ScenarioException(String.valueOf(e.getMessage()));
    }
  }

  private ScenarioHost(
      HookedKernel kernel, ScenarioFile file, KvmBackend backend, TraceSink trace) {
    this.kernel = kernel;
    Scenario scenario = file.scenario();
    HostSetup setup = scenario.host();
    long seed = setup.seed();
    PageAllocator pages =
        new PageAllocator(kernel, setup.memory().value(), setup.placement().placement(), seed);
    machine =
        Machine.of(
            backend,
            new Host(kernel, pages, trace),
            setup.kernel() == HostSetup.KernelName.LINUX_6_12
                ? KernelGeneration.LINUX_6_12
                : KernelGeneration.LINUX_7_1,
            config(setup));
    setup
        .parameters()
        .forEach(
            (name, value) ->
                must(file, "/host/parameters/" + name, module().setParameter(name, value)));
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
      vm = newVm(name, setup);
    } catch (SetupException | Vmm.VmmException e) {
      throw failed(file, at, String.valueOf(e.getMessage()));
    }
    vms.put(name, vm);
    // One that a backend has broken by now is there for the invariants to find.
    for (int i = 0; i < setup.slots().size() && !vm.kvm().isBugged(); i++) {
      SlotSetup slot = setup.slots().get(i);
      Errno error;
      try {
        error = vm.addSlot(slot);
      } catch (IllegalStateException e) {
        throw failed(file, at + "/slots/" + i, String.valueOf(e.getMessage()));
      }
      if (!vm.kvm().isBugged()) {
        must(file, at + "/slots/" + i, error);
      }
    }
  }

  private EmulatedVm newVm(String name, VmSetup setup) {
    TdxHost tdx = machine.tdx();
    if (setup.type().type() != VmType.TDX) {
      return new OrdinaryVm(name, vms.size() + 1, machine, setup, this::file);
    }
    if (tdx != null) {
      return new TdVm(name, tdx, setup, this::file);
    }
    // Its guest runs for the first time.
    kernel.beginStep();
    return new ExternalVm(name, vms.size() + 1, machine, setup, this::file);
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

  /** The TDX module and what belongs to it; null on a backend that needs none. */
  public @Nullable TdxHost tdx() {
    return machine.tdx();
  }

  public PageAllocator pages() {
    return machine.host().pages();
  }

  KvmModule module() {
    return machine.module();
  }

  public String backend() {
    return machine.backend().name();
  }

  /** How often a SEAMCALL was made; never where there is no module. */
  long callsOf(SeamcallLeaf leaf) {
    TdxHost tdx = machine.tdx();
    return tdx == null ? 0 : tdx.module().callsOf(leaf);
  }

  /** What makes SEAMCALLs go wrong, on a host that has a module. */
  SeamcallInjector injector() {
    TdxHost tdx = machine.tdx();
    if (tdx == null) {
      throw new IllegalStateException("backend %s makes no SEAMCALLs".formatted(backend()));
    }
    return tdx.module().injector();
  }

  /** Has somebody see each SEAMCALL from now on, if any are made; null for nobody. */
  public void watchSeamcalls(SeamcallInjector.@Nullable Watch watcher) {
    TdxHost tdx = machine.tdx();
    if (tdx != null) {
      tdx.module().injector().watch(watcher);
    }
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
    Map<String, Long> all = new TreeMap<>();
    TdxHost tdx = machine.tdx();
    if (tdx != null) {
      all.putAll(tdx.dpamt().counters().toMap());
      all.put(Counters.PAIRS, tdx.dpamt().pairsInstalled());
    }
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
    ImmutableList.Builder<BackendVm> external = ImmutableList.builder();
    ImmutableList.Builder<KvmMmu> ordinary = ImmutableList.builder();
    ImmutableSet.Builder<GuestMemfd> all = ImmutableSet.builder();
    all.addAll(files.values());
    long userPages = 0;
    for (EmulatedVm vm : livingVms()) {
      userPages += vm.userPages();
      if (vm instanceof TdVm td) {
        tds.add(td.td());
        all.addAll(td.ownFiles());
      } else if (vm instanceof ExternalVm its) {
        external.add(its.vm());
        all.addAll(its.vm().files());
      } else {
        ordinary.add(vm.mmu());
      }
    }
    kernel.rcu().barrier();
    TdxHost tdx = machine.tdx();
    return tdx == null
        ? BackendInvariants.violations(
            pages(),
            new BackendInvariants.Contents(
                external.build(), ordinary.build(), userPages, all.build()))
        : HostInvariants.violations(
            tdx, new HostContents(tds.build(), ordinary.build(), userPages, all.build()));
  }

  /** Nothing is injected any more. */
  void stopInjecting() {
    kernel.clearHooks();
    pages().faults().clear();
    if (machine.tdx() != null) {
      injector().clear();
    }
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
                left.add(
                    "in the end %s still has %d page(s)".formatted(machine.nameOf(owner), count)));
    pages()
        .objects()
        .forEach((slab, count) -> left.add("in the end %d %s(s) are left".formatted(count, slab)));
    return left;
  }
}
