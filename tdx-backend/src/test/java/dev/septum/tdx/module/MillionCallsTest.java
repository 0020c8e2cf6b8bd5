package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.KernelThread;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Four hosts at once that call at random, right and wrong, while interrupts come and locks are
 * taken: the module stays sound and knows where each page is. {@code -Dseptum.seed=} chooses other
 * calls.
 */
final class MillionCallsTest {

  private static final int THREADS = 4;
  private static final long SEED = Long.getLong("septum.seed", 20_260_106);

  /** What can not succeed on a module that is READY. */
  private static final Set<SeamcallLeaf> BRING_UP =
      EnumSet.of(
          SeamcallLeaf.TDH_SYS_INIT,
          SeamcallLeaf.TDH_SYS_LP_INIT,
          SeamcallLeaf.TDH_SYS_CONFIG,
          SeamcallLeaf.TDH_SYS_KEY_CONFIG,
          SeamcallLeaf.TDH_SYS_TDMR_INIT,
          SeamcallLeaf.TDH_SYS_LP_SHUTDOWN);

  private static final Set<SeamcallLeaf> DYNAMIC =
      EnumSet.of(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE);

  private final Kernel kernel = Kernel.host();

  @ParameterizedTest(name = "{0} calls, dynamic {1}, {2}")
  @CsvSource({"1000000,true,V1_5_28", "100000,false,V1_5_25"})
  void afterRandomCalls_everyInvariantHolds_andEveryPageIsAccountedFor(
      int calls, boolean dynamic, ModuleVersion version) {
    TdxModule module = module(dynamic, version);
    TestHost host = new TestHost(module);
    List<RandomCaller> callers = callers(module, host, calls / THREADS);
    disturb(module.injector());
    List<KernelThread> threads =
        callers.stream().map(caller -> kernel.spawn("caller", caller)).toList();
    assertThatCode(() -> threads.forEach(KernelThread::join))
        .as("seed %d", SEED)
        .doesNotThrowAnyException();
    module.injector().clear();

    assertThat(module.view().violations()).as("seed %d", SEED).isEmpty();
    assertThat(succeeded(callers).keySet())
        .as("seed %d", SEED)
        .containsAll(EnumSet.complementOf(EnumSet.copyOf(impossible(dynamic))));
    assertThat(module.injector().injected()).isGreaterThan(calls / 1000);
    tearEverythingDown(module, host);
    assertThat(module.view().assignedPages()).isEmpty();
    assertThat(module.view().pamtPairs()).isEmpty();
    assertThat(module.view().violations()).isEmpty();
  }

  @Test
  void oneThreadsCalls_canBeReplayed() {
    List<String> first = choices(SEED);
    assertThat(choices(SEED)).isEqualTo(first);
    assertThat(choices(SEED + 1)).isNotEqualTo(first);
  }

  private List<String> choices(long seed) {
    TdxModule module = module(true, ModuleVersion.V1_5_28);
    TestHost host = new TestHost(module);
    RandomCaller caller = new RandomCaller(world(module, host), host, 0, seed, 0);
    List<String> choices = new ArrayList<>();
    for (int i = 0; i < 2000; i++) {
      choices.add(caller.next().toString());
    }
    return choices;
  }

  private TdxModule module(boolean dynamic, ModuleVersion version) {
    return new TdxModule(
        kernel,
        TdxModuleConfig.defaults().withDynamicPamt(dynamic).withRelease(version),
        ModuleTestCase.GIB);
  }

  private static RandomCaller.World world(TdxModule module, TestHost host) {
    TestTd td = host.createTd(TdParams.defaults().withAttributes(TdParams.DEBUG));
    for (int i = 0; i < THREADS; i++) {
      td.addVcpu();
    }
    host.mustCall(SeamcallLeaf.TDH_MR_FINALIZE, td.tdr, 0);
    td.addTables(RandomCaller.GPA, 1);
    List<Long> pairPages = new ArrayList<>();
    for (int i = 0; i < 256; i++) {
      pairPages.add(host.pamtPage());
    }
    return new RandomCaller.World(module, td, pairPages);
  }

  private static List<RandomCaller> callers(TdxModule module, TestHost host, int calls) {
    RandomCaller.World world = world(module, host);
    List<RandomCaller> callers = new ArrayList<>();
    for (int i = 0; i < THREADS; i++) {
      callers.add(new RandomCaller(world, host, i, SEED, calls));
    }
    return callers;
  }

  /** Interrupts and taken locks, for calls that their operands choose. */
  private static void disturb(SeamcallInjector injector) {
    contend(injector, SeamcallLeaf.TDH_MEM_RANGE_BLOCK, OperandId.SEPT_TREE);
    contend(injector, SeamcallLeaf.TDH_MEM_PAGE_AUG, OperandId.SEPT_ENTRY);
    contend(injector, SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, OperandId.R12);
    contend(injector, SeamcallLeaf.TDH_MEM_PAGE_REMOVE, OperandId.RCX);
    contend(injector, SeamcallLeaf.TDH_MEM_PAGE_RELOCATE, OperandId.R8);
    for (SeamcallLeaf leaf :
        List.of(
            SeamcallLeaf.TDH_MEM_PAGE_PROMOTE,
            SeamcallLeaf.TDH_MEM_PAGE_DEMOTE,
            SeamcallLeaf.TDH_PHYMEM_CACHE_WB)) {
      injector.on(leaf).where(regs -> isChosen(regs, 8)).always().interrupt();
    }
    injector
        .on(SeamcallLeaf.TDH_MEM_SEPT_ADD)
        .where(regs -> isChosen(regs, 64))
        .always()
        .fail(TdxStatus.TDX_SYS_BUSY);
  }

  private static void contend(SeamcallInjector injector, SeamcallLeaf leaf, int operand) {
    injector.on(leaf).where(regs -> isChosen(regs, 16)).always().contend(operand);
  }

  private static boolean isChosen(SeamRegs regs, int oneOf) {
    long mixed = (regs.rcx * 31 + regs.r8 * 17 + regs.r12) * 0x9E3779B97F4A7C15L;
    return Long.remainderUnsigned(mixed >>> 32, oneOf) == 0;
  }

  private static Set<SeamcallLeaf> impossible(boolean dynamic) {
    Set<SeamcallLeaf> impossible = EnumSet.copyOf(BRING_UP);
    if (!dynamic) {
      impossible.addAll(DYNAMIC);
    }
    return impossible;
  }

  private static Map<SeamcallLeaf, Long> succeeded(List<RandomCaller> callers) {
    Map<SeamcallLeaf, Long> all = new EnumMap<>(SeamcallLeaf.class);
    callers.forEach(
        caller -> caller.succeeded.forEach((leaf, count) -> all.merge(leaf, count, Long::sum)));
    return all;
  }

  /** Takes every TD apart, in whatever state it is, and gives every page pair back. */
  private static void tearEverythingDown(TdxModule module, TestHost host) {
    ModuleState state = module.state();
    state.vcpus.keySet().forEach(vcpu -> host.call(SeamcallLeaf.TDH_VP_FLUSH, vcpu, 0));
    state.tds.keySet().forEach(tdr -> host.call(SeamcallLeaf.TDH_MNG_VPFLUSHDONE, tdr, 0));
    host.call(SeamcallLeaf.TDH_PHYMEM_CACHE_WB, 0, 0);
    state.tds.keySet().forEach(tdr -> host.call(SeamcallLeaf.TDH_MNG_KEY_FREEID, tdr, 0));
    module
        .view()
        .assignedPages()
        .forEach(
            (hpa, type) -> {
              if (type != PageType.TDR) {
                host.mustCall(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM, hpa, 0);
              }
            });
    module
        .view()
        .assignedPages()
        .keySet()
        .forEach(tdr -> host.mustCall(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM, tdr, 0));
    module
        .view()
        .pamtPairs()
        .keySet()
        .forEach(region -> host.mustCall(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, region | 1, 0));
  }
}
