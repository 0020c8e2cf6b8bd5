package dev.septum.it.schedule;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.dpamt.PamtCache;
import dev.septum.kernel.Gfp;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.Placement;
import dev.septum.kernel.schedule.Exploration;
import dev.septum.kernel.schedule.ExplorationResult;
import dev.septum.kernel.schedule.Program;
import dev.septum.kernel.schedule.ScheduledKernel;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Host;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.TraceSink;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.MmuView;
import dev.septum.tdx.SplitCacheRace;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.guest.TouchMemory;
import dev.septum.tdx.module.TdxModuleConfig;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/** The races in which mutants of the code they run must be found, and the code itself must not. */
@SuppressWarnings("ImmutableEnumChecker") // Programs keep nothing.
public enum MutantPrograms {
  /** Two splitters want the four pages that one of them may take. */
  SPLIT_CACHE_DRAINED(new SplitCacheRace(2, 0, false)),
  /** Two splitters whose splits are undone. */
  SPLIT_CACHE_GIVEN_BACK(new SplitCacheRace(2, 0, true)),
  /** Two threads fill one cache. */
  SPLIT_CACHE_TOPPED_UP(new SplitCacheRace(0, 2, false)),
  /** Two pages of one range come into use. */
  PAMT_GET_AND_GET(MutantPrograms::getAndGet),
  /** One page of a range goes and another comes. */
  PAMT_PUT_AND_GET(MutantPrograms::putAndGet),
  /** The last two pages of a range go. */
  PAMT_PUT_AND_PUT(MutantPrograms::putAndPut),
  /** Two vCPUs fault on one frame. */
  TWO_FAULTS(scene(MutantPrograms::twoFaults)),
  /** Two vCPUs without roots. */
  TWO_LOADS(scene(MutantPrograms::twoLoads)),
  /** Two threads split one huge page, and the host takes it away. */
  TWO_SPLITS_AND_A_ZAP(scene(MutantPrograms::twoSplitsAndZap)),
  /** A vCPU faults on a frame whose table is being taken down. */
  TABLE_TAKEN_DOWN(scene(MutantPrograms::tableTakenDown)),
  /** Two vCPUs of a TD fault on frames that share a table. */
  TD_TWO_FAULTS(scene(MutantPrograms::twoPrivateFaults)),
  /** A vCPU of a TD faults on a frame that user space takes away. */
  TD_FAULT_AND_HOLE(scene(MutantPrograms::privateFaultAndHole)),
  /** A vCPU of a TD faults on a frame that user space makes shared. */
  TD_FAULT_AND_SHARE(scene(MutantPrograms::privateFaultAndShare)),
  /** A vCPU is busy in the guest when a huge page of another part of memory is split. */
  TD_TOUCH_AND_SHARE(scene(MutantPrograms::touchAndShare)),
  /** A vCPU enters the guest again and again while a huge page is split. */
  TD_ENTRIES_AND_SHARE(scene(MutantPrograms::entriesAndShare));

  /** A page in a range that nothing else uses. */
  private static final long PFN = 100 * 512;

  private final Program program;

  MutantPrograms(Program program) {
    this.program = program;
  }

  /**
   * Explores until something is found: how many schedules that took, of how many, and what was
   * found, if anything: its kind and its report.
   */
  public static List<String> explore(String name, String strategy, long most) {
    Exploration exploration =
        Exploration.of(valueOf(name).program).pagesAreAlike().mostSchedules(most).stopAtFirst();
    ExplorationResult result =
        switch (strategy) {
          case "random" -> exploration.random(1);
          case "pct" -> exploration.pct(1, 3);
          case "one preemption" -> exploration.preemptionBounded(1);
          case "no preemption" -> exploration.preemptionBounded(0);
          default -> exploration.exhaustive();
        };
    List<String> text = new ArrayList<>();
    text.add(Long.toString(result.schedules() + result.pruned()));
    for (ExplorationResult.Failure failure : result.failures()) {
      text.add(failure.finding().kind().name());
      text.add(failure.finding().report());
    }
    return text;
  }

  private static Program scene(Function<ScheduledKernel, Scene> setting) {
    return kernel -> setting.apply(kernel).play();
  }

  private static TdxHost pamtHost(ScheduledKernel kernel) {
    PageAllocator pages = new PageAllocator(kernel, 1L << 30, Placement.SEQUENTIAL, 1);
    return new TdxHost(new Host(kernel, pages, TraceSink.OFF), TdxModuleConfig.defaults());
  }

  private static PamtCache pair(TdxHost tdx) {
    PamtCache cache = new PamtCache(tdx.host().kernel(), tdx.host().pages());
    assertThat(cache.topup(2, Gfp.KERNEL)).isEqualTo(Errno.OK);
    return cache;
  }

  private static void get(TdxHost tdx, PamtCache cache) {
    assertThat(tdx.dpamt().get(PFN, cache)).as("what the get answers").isEqualTo(Errno.OK);
  }

  private static void end(TdxHost tdx, long users, KernelThread... threads) {
    for (KernelThread thread : threads) {
      thread.join();
    }
    assertThat(tdx.dpamt().refcount(PFN)).as("users").isEqualTo(users);
    assertThat(tdx.module().view().pamtPairs()).as("page pairs").hasSize(users > 0 ? 1 : 0);
    assertThat(tdx.dpamt().pairsInstalled()).as("pairs counted").isEqualTo(users > 0 ? 1 : 0);
  }

  private static void getAndGet(ScheduledKernel kernel) {
    TdxHost tdx = pamtHost(kernel);
    PamtCache a = pair(tdx);
    PamtCache b = pair(tdx);
    end(tdx, 2, kernel.spawn("get a", () -> get(tdx, a)), kernel.spawn("get b", () -> get(tdx, b)));
  }

  private static void putAndGet(ScheduledKernel kernel) {
    TdxHost tdx = pamtHost(kernel);
    assertThat(tdx.dpamt().get(PFN)).isEqualTo(Errno.OK);
    PamtCache cache = pair(tdx);
    end(
        tdx,
        1,
        kernel.spawn("put", () -> tdx.dpamt().put(PFN)),
        kernel.spawn("get", () -> get(tdx, cache)));
  }

  private static void putAndPut(ScheduledKernel kernel) {
    TdxHost tdx = pamtHost(kernel);
    assertThat(tdx.dpamt().get(PFN)).isEqualTo(Errno.OK);
    assertThat(tdx.dpamt().get(PFN)).isEqualTo(Errno.OK);
    end(
        tdx,
        0,
        kernel.spawn("put a", () -> tdx.dpamt().put(PFN)),
        kernel.spawn("put b", () -> tdx.dpamt().put(PFN)));
  }

  private static Scene twoFaults(ScheduledKernel kernel) {
    VmScene vm = new VmScene(kernel, PageLevel.LEVEL_4K);
    return vm.actor("vCPU 0", () -> vm.fault(0, AccessKind.WRITE, VmScene.GFN))
        .actor("vCPU 1", () -> vm.fault(1, AccessKind.WRITE, VmScene.GFN));
  }

  private static Scene twoLoads(ScheduledKernel kernel) {
    VmScene vm = new VmScene(kernel, PageLevel.LEVEL_4K).parameter("nx_huge_pages", "on");
    return vm.actor("vCPU 0", () -> vm.vcpu(0).load())
        .actor("vCPU 1", () -> vm.vcpu(1).load())
        .then(
            "roots",
            () -> {
              assertThat(new MmuView(vm.mmu()).tables()).as("one root for both").isOne();
              return "";
            });
  }

  private static Scene twoSplitsAndZap(ScheduledKernel kernel) {
    VmScene vm = new VmScene(kernel, PageLevel.LEVEL_2M);
    vm.touched(0, AccessKind.WRITE, VmScene.GFN);
    return vm.actor("ioctl", () -> vm.split(LockMode.SHARED))
        .actor("notifier", () -> invalidate(vm))
        .actor("other ioctl", () -> vm.split(LockMode.SHARED));
  }

  private static Scene tableTakenDown(ScheduledKernel kernel) {
    VmScene vm = new VmScene(kernel, PageLevel.LEVEL_2M);
    vm.parameter("nx_huge_pages", "on").parameter("nx_huge_pages_recovery_ratio", "1");
    vm.reloaded().touched(0, AccessKind.EXEC, VmScene.GFN);
    return vm.actor("worker", () -> vm.module().recoverNxHugePages())
        .actor("vCPU", () -> vm.fault(1, AccessKind.EXEC, VmScene.GFN + 1));
  }

  /** The host takes all pages of the VM away for a moment. */
  private static void invalidate(VmScene vm) {
    long start = vm.region().hva();
    vm.mmu().notifier().invalidateRange(start, start + (VmScene.PAGES << 12));
  }

  /** {@code KVM_PRE_FAULT_MEMORY} of one frame: the fault of a vCPU without a guest. */
  private static Errno preFault(TdScene td, int vcpu, long gfn) {
    return td.vcpu(vcpu).preFault(gfn << 12, 4096).error();
  }

  private static Scene twoPrivateFaults(ScheduledKernel kernel) {
    TdScene td = TdScene.of(kernel, PageLevel.LEVEL_4K);
    return td.actor("vCPU 0", () -> preFault(td, 0, TdScene.GFN))
        .actor("vCPU 1", () -> preFault(td, 1, TdScene.GFN + 1));
  }

  private static Scene privateFaultAndHole(ScheduledKernel kernel) {
    TdScene td = TdScene.of(kernel, PageLevel.LEVEL_4K);
    return td.actor("vCPU", () -> preFault(td, 0, TdScene.GFN))
        .actor("user space", () -> td.vmm().files().get(0).punchHole(TdScene.GFN, TdScene.GFN + 1));
  }

  private static Scene privateFaultAndShare(ScheduledKernel kernel) {
    TdScene td = TdScene.of(kernel, PageLevel.LEVEL_4K);
    return td.actor("vCPU", () -> preFault(td, 0, TdScene.GFN))
        .actor("user space", () -> td.setAttributes(TdScene.GFN, 1, false));
  }

  private static Scene touchAndShare(ScheduledKernel kernel) {
    TdScene td = TdScene.of(kernel, PageLevel.LEVEL_2M).accepted2M();
    return td.actor(
            "vCPU",
            () -> td.run(0, new TouchMemory(0, 4096, 64, dev.septum.tdx.module.AccessKind.WRITE)))
        .actor("user space", () -> td.setAttributes(TdScene.GFN + 16, 1, false));
  }

  private static Scene entriesAndShare(ScheduledKernel kernel) {
    TdScene td = TdScene.of(kernel, PageLevel.LEVEL_2M).accepted2M();
    return td.actor(
            "vCPU",
            () -> {
              for (int i = 0; i < 10; i++) {
                td.run(0, new TouchMemory(0, 1, dev.septum.tdx.module.AccessKind.READ));
              }
            })
        .actor("user space", () -> td.setAttributes(TdScene.GFN + 16, 1, false));
  }
}
