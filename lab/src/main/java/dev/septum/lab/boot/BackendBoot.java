package dev.septum.lab.boot;

import com.google.common.collect.ImmutableMap;
import dev.septum.kvm.Errno;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.lab.BootOptions;
import dev.septum.lab.GuestBoot;
import dev.septum.lab.Progress;
import dev.septum.lab.backend.Machine;
import dev.septum.lab.bootlog.GuestMemoryMap;
import dev.septum.lab.bootlog.RamRange;
import dev.septum.lab.bootlog.Size2M;
import dev.septum.lab.bootlog.SwiotlbBuffer;
import dev.septum.lab.report.BootReport;
import dev.septum.lab.report.BootReport.ConversionSection;
import dev.septum.lab.run.HookedKernel;
import dev.septum.mmu.GuestCpu;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.vmm.BackendInvariants;
import dev.septum.mmu.vmm.BackendVm;
import dev.septum.tdx.vmm.TdLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;

/** Boots a guest as a VM of a backend with an external page table and without a TDX module. */
final class BackendBoot implements GuestBoot {

  /** What the guest accepts between two looks at the progress. */
  private static final long STRIDE = 64L << 20;

  /** Entries and faults that a stride may take; with a touch of each page some 100,000. */
  private static final long MOST_ROUNDS = 1_000_000;

  /** Violations that a report has room for. */
  private static final int MOST_TOLD = 20;

  /** The guest or its VMM cannot go on. */
  private static final class EndedEarly extends Exception {
    private static final long serialVersionUID = 1L;

    EndedEarly(String why) {
      super(why);
    }
  }

  @Override
  public BootReport boot(GuestMemoryMap map, BootOptions options, Progress progress) {
    HookedKernel kernel = new HookedKernel();
    Machine machine = BootHost.machine(map, options, kernel);
    BackendVm vm = machine.newBackendVm(1, options.vcpus(), PageLevel.LEVEL_512G);
    List<String> violations = new ArrayList<>();
    Run run = new Run(vm, kernel, map, options, progress);
    try {
      run.boot();
    } catch (EndedEarly e) {
      violations.add("the boot ended early: " + e.getMessage());
    }
    violations.addAll(violationsOf(vm));
    LiveSections live =
        LiveSections.of(
            vm,
            run.accepted,
            new ConversionSection(
                run.mapGpaCalls,
                run.chunks,
                vm.mmu().counters().get(MmuCounter.HUGE_LEAFS_ZAPPED),
                vm.mmu().counters().get(MmuCounter.SMALL_LEAFS_ZAPPED)));
    vm.close();
    return BootHost.report(map, options, machine, live, vm.kvm().splat(), violations);
  }

  /** What does not hold of the VM, the first of it; a splat has a place of its own. */
  private static List<String> violationsOf(BackendVm vm) {
    List<String> all =
        BackendInvariants.violations(vm.kvm().pages(), BackendInvariants.Contents.of(List.of(vm)))
            .stream()
            .filter(sentence -> !vm.kvm().isBugged() || !sentence.contains(" is bugged: "))
            .toList();
    List<String> told = new ArrayList<>(all.subList(0, Math.min(MOST_TOLD, all.size())));
    if (told.size() < all.size()) {
      told.add("and %d more of the kind".formatted(all.size() - told.size()));
    }
    return told;
  }

  /** One boot. */
  private static final class Run {
    private final BackendVm vm;
    private final HookedKernel kernel;
    private final GuestMemoryMap map;
    private final BootOptions options;
    private final TdLayout layout;
    private final Progress progress;
    private ImmutableMap<String, Long> accepted = ImmutableMap.of();
    private long mapGpaCalls;
    private long chunks;

    Run(
        BackendVm vm,
        HookedKernel kernel,
        GuestMemoryMap map,
        BootOptions options,
        Progress progress) {
      this.vm = vm;
      this.kernel = kernel;
      this.map = map;
      this.options = options;
      this.layout = GuestLayout.of(map, options);
      this.progress = progress;
    }

    void boot() throws EndedEarly {
      for (TdLayout.Region region : layout.memory()) {
        must(
            "memory at 0x%x".formatted(region.start()),
            vm.addMemory(region.start() >>> 12, region.frames(), layout.folioLevel()));
      }
      TdLayout.Region firmware = layout.firmware();
      bounded(
          "the firmware", () -> vm.accept(0, firmware.start(), firmware.end(), PageLevel.LEVEL_4K));
      try {
        acceptAll();
      } finally {
        accepted = ramLeafs();
      }
      Optional<SwiotlbBuffer> buffer = map.swiotlb();
      if (buffer.isPresent()) {
        share(buffer.get());
      }
    }

    private static void must(String what, Errno error) throws EndedEarly {
      if (error.isError()) {
        throw new EndedEarly(what + ": " + error);
      }
    }

    /** What the guest does must succeed, and come to an end. */
    private void bounded(String what, Supplier<GuestCpu.Access> deed) throws EndedEarly {
      kernel.boundRounds(MOST_ROUNDS);
      try {
        must(what, deed.get().error());
      } catch (HookedKernel.EndlessRetry e) {
        throw new EndedEarly(what + ": the guest faults for ever: " + e.getMessage());
      }
    }

    private void acceptAll() throws EndedEarly {
      progress.phase("accepting memory (MiB)", map.ramBytes() >> 20);
      long bytes = 0;
      for (RamRange range : map.ram()) {
        for (long start = range.startGpa(); start < range.endGpa(); ) {
          long end = Math.min(range.endGpa(), Size2M.roundDown(start + STRIDE));
          long from = start;
          bounded(
              "ACCEPT of 0x%x to 0x%x".formatted(start, end),
              () ->
                  options.touchFirst()
                      ? vm.touchAndAccept(0, from, end, PageLevel.LEVEL_2M)
                      : vm.accept(0, from, end, PageLevel.LEVEL_2M));
          bytes += end - start;
          progress.reached(bytes >> 20);
          start = end;
        }
      }
    }

    /** What the guest has accepted: a leaf each, as nothing was converted yet. */
    private ImmutableMap<String, Long> ramLeafs() {
      long huge = 0;
      long small = 0;
      for (ExternalTable.Leaf leaf : vm.externalTable().leafs()) {
        long gpa = leaf.gfn() << 12;
        if (map.ram().stream().anyMatch(r -> r.startGpa() <= gpa && gpa < r.endGpa())) {
          huge += leaf.level() == PageLevel.LEVEL_2M ? 1 : 0;
          small += leaf.level() == PageLevel.LEVEL_4K ? 1 : 0;
        }
      }
      return ImmutableMap.of("2M", huge, "4K", small);
    }

    /** MapGPA, which KVM hands to user space in pieces. */
    private void share(SwiotlbBuffer buffer) throws EndedEarly {
      progress.phase("converting swiotlb (MiB)", buffer.bytes() >> 20);
      mapGpaCalls++;
      long piece = layout.mapGpaMaxLen();
      for (long start = buffer.startGpa(); start < buffer.endGpa(); start += piece) {
        long end = Math.min(buffer.endGpa(), start + piece);
        chunks++;
        must(
            "MapGPA of 0x%x".formatted(start),
            vm.convert(new GfnRange(start >>> 12, end >>> 12), false));
        progress.reached((end - buffer.startGpa()) >> 20);
      }
    }
  }
}
