package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.Sets;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.KernelThread;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Hosts that call at random, alone and against each other, never get the module to break. */
final class RandomCallsTest {

  private static final long GPA = 0x4000_0000L;
  private static final int LARGE_GPAS = 48;
  private static final int LARGE_PAGES = 8;
  private static final Set<SeamcallLeaf> STATIC =
      EnumSet.of(
          SeamcallLeaf.TDH_MEM_PAGE_AUG,
          SeamcallLeaf.TDH_MEM_PAGE_DEMOTE,
          SeamcallLeaf.TDH_MEM_PAGE_REMOVE,
          SeamcallLeaf.TDH_MEM_RANGE_BLOCK,
          SeamcallLeaf.TDH_MEM_RANGE_UNBLOCK,
          SeamcallLeaf.TDH_MEM_TRACK,
          SeamcallLeaf.TDH_MEM_SEPT_ADD);
  private static final Set<SeamcallLeaf> DYNAMIC =
      Sets.union(
          STATIC,
          EnumSet.of(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE));

  @ParameterizedTest
  @CsvSource({"1,1,true", "2,1,false", "3,3,true", "4,3,false", "5,4,true"})
  void invariantsHold_afterRandomCalls(long seed, int threads, boolean dynamic) {
    Kernel kernel = Kernel.host();
    TdxModule module =
        new TdxModule(
            kernel,
            TdxModuleConfig.defaults()
                .withDynamicPamt(dynamic)
                .withNonBlockingResize(seed % 2 == 0),
            ModuleTestCase.GIB);
    TestHost host = new TestHost(module);
    TestTd td = host.runnableTd();
    td.addTables(GPA, 1);
    List<Caller> callers = new ArrayList<>();
    for (int i = 0; i < threads; i++) {
      callers.add(new Caller(module, host, td, new Random(seed * 100 + i)));
    }
    List<KernelThread> running =
        callers.stream().map(caller -> kernel.spawn("caller", caller)).toList();
    running.forEach(KernelThread::join);
    assertThat(module.view().violations()).isEmpty();
    if (threads == 1) {
      // One caller's luck is in the seed; of several, any may have had none.
      assertThat(callers.get(0).succeeded).containsAll(dynamic ? DYNAMIC : STATIC);
    }
  }

  /** One host thread with pages of its own; GPAs and large pages are everybody's. */
  private static final class Caller implements Runnable {

    private static final int CALLS = 10_000;

    private final TdxModule module;
    private final TestTd td;
    private final Random random;
    private final List<Long> small = new ArrayList<>();
    private final List<Long> pairs = new ArrayList<>();
    private final long tdvpr;
    private final Set<SeamcallLeaf> succeeded = EnumSet.noneOf(SeamcallLeaf.class);

    Caller(TdxModule module, TestHost host, TestTd td, Random random) {
      this.module = module;
      this.td = td;
      this.random = random;
      tdvpr = td.vcpu();
      for (int i = 0; i < 40; i++) {
        small.add(host.controlPage());
        pairs.add(host.pamtPage());
      }
    }

    @Override
    public void run() {
      for (int i = 0; i < CALLS; i++) {
        SeamRegs regs = next();
        SeamcallLeaf leaf = SeamcallLeaf.of((int) regs.rax).orElseThrow();
        module.seamcall(regs, new Impatient(random.nextInt(3)));
        if (regs.rax == TdxStatus.TDX_SUCCESS) {
          succeeded.add(leaf);
        }
      }
    }

    private SeamRegs next() {
      long large = GPA + random.nextInt(LARGE_GPAS) * TestHost.MIB_2;
      long gpa = large + random.nextInt(4) * TestHost.PAGE;
      long region = (512L << 20) + random.nextInt(LARGE_PAGES) * TestHost.MIB_2;
      boolean isLarge = random.nextBoolean();
      long word = isLarge ? large | 1 : gpa;
      return switch (random.nextInt(12)) {
        case 0 -> mem(SeamcallLeaf.TDH_MEM_PAGE_AUG, large | 1).r8(region);
        case 1 -> mem(SeamcallLeaf.TDH_MEM_PAGE_AUG, gpa).r8(any(small));
        case 2 -> mem(SeamcallLeaf.TDH_MEM_RANGE_BLOCK, word);
        case 3 -> mem(SeamcallLeaf.TDH_MEM_RANGE_UNBLOCK, word);
        case 4 -> SeamRegs.leaf(SeamcallLeaf.TDH_MEM_TRACK).rcx(td.tdr);
        case 5, 6 ->
            mem(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, large | 1)
                .r8(any(small))
                .r12(any(pairs))
                .r13(any(pairs));
        case 7 -> mem(SeamcallLeaf.TDH_MEM_PAGE_REMOVE, word);
        case 8 -> mem(SeamcallLeaf.TDH_MEM_SEPT_ADD, large | 1).r8(any(small));
        case 9 ->
            SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD)
                .rcx(region | 1)
                .rdx(any(pairs))
                .r8(any(pairs));
        case 10 -> SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE).rcx(region | 1);
        default -> enter(isLarge ? large : gpa, isLarge ? 1 : 0);
      };
    }

    private SeamRegs mem(SeamcallLeaf leaf, long word) {
      return SeamRegs.leaf(leaf).rcx(word).rdx(td.tdr);
    }

    private SeamRegs enter(long gpa, int level) {
      module.attachGuest(tdvpr, new Accepting(gpa, level));
      return SeamRegs.leaf(SeamcallLeaf.TDH_VP_ENTER).rcx(tdvpr);
    }

    private long any(List<Long> pages) {
      return pages.get(random.nextInt(pages.size()));
    }
  }

  /** Accepts one page for ever. */
  private record Accepting(long gpa, int level) implements TdGuest {

    @Override
    public GuestInstruction next() {
      return new GuestInstruction.Accept(gpa, level);
    }

    @Override
    public void retired(GuestInstruction instruction, GuestOutcome outcome) {}
  }

  /** A processor that is interrupted after so many looks. */
  private static final class Impatient implements LogicalProcessor {

    private int looks;

    Impatient(int patience) {
      looks = patience * 300;
    }

    @Override
    public boolean isInterruptPending() {
      return looks-- <= 0;
    }

    @Override
    public boolean isSharedMapped(long gpaWithoutSharedBit, AccessKind kind) {
      return false;
    }
  }
}
