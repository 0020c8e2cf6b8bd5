package dev.septum.tdx.module;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * One host thread that calls at random. What it calls next depends on its seed alone, never on what
 * came of the calls before, so that a thread's calls can be replayed.
 */
final class RandomCaller implements Runnable {

  static final long GPA = 0x4000_0000L;
  private static final int RANGES = 16;

  /** The first ranges are mostly mapped by large pages, the others by small ones. */
  private static final int LARGE_RANGES = 8;

  /** Where the large pages are: range {@code i} of the GPAs has page {@code i} most of the time. */
  private static final long LARGE_PAGES = 512L << 20;

  private static final long NULL_PA = -1;

  /** What all callers share. */
  record World(TdxModule module, TestTd td, List<Long> pairPages) {}

  private final World world;
  private final Random random;
  private final int calls;
  private final RandomLife life;
  private final Deque<SeamRegs> story = new ArrayDeque<>();
  private final List<Long> pages = new ArrayList<>();
  final Map<SeamcallLeaf, Long> succeeded = new EnumMap<>(SeamcallLeaf.class);

  RandomCaller(World world, TestHost host, int number, long seed, int calls) {
    this.world = world;
    this.calls = calls;
    random = new Random(seed * 1_000_003 + number);
    for (int i = 0; i < 32; i++) {
      pages.add(host.controlPage());
    }
    life = new RandomLife(host, 10 + number, random);
  }

  @Override
  public void run() {
    for (int i = 0; i < calls; i++) {
      SeamRegs regs = next();
      long rax = regs.rax;
      world.module().seamcall(regs, new Impatient(random.nextInt(4)));
      if (TdxStatus.isSuccess(regs.rax)) {
        SeamcallLeaf.of((int) rax & 0xFFFF).ifPresent(leaf -> succeeded.merge(leaf, 1L, Long::sum));
      }
    }
  }

  /** The next call; one of 32 has one operand spoiled. */
  SeamRegs next() {
    SeamRegs regs = random.nextInt(4) == 0 ? life.next() : memoryCall();
    if ((regs.rax & 0xFFFF) == SeamcallLeaf.TDH_VP_ENTER.number()) {
      world.module().attachGuest(regs.rcx, new RandomGuest(random.nextLong(), gpa(0)));
    }
    if (random.nextInt(32) == 0) {
      spoil(regs);
    }
    return regs;
  }

  /** The next call of a story about one range; the stories of the others come in between. */
  private SeamRegs memoryCall() {
    if (story.isEmpty()) {
      tell(random.nextInt(RANGES));
    }
    return story.remove();
  }

  private void tell(int range) {
    boolean aboutLarge = range < LARGE_RANGES ^ random.nextInt(256) == 0;
    switch (random.nextInt(4)) {
      case 0 -> tellOfPages(range);
      case 1 -> tell(enter(), mem(SeamcallLeaf.TDH_MEM_SEPT_RD, word(range, 0)));
      default -> {
        if (aboutLarge) {
          tellOfLargePage(word(range, 1), range);
        } else {
          tellOfSmallPage(word(range, 0), range);
        }
      }
    }
  }

  private void tellOfPages(int range) {
    switch (random.nextInt(4)) {
      case 0 -> tell(pamt(range), physicalPageCall(range));
      case 1 -> tell(debugAccess(range), physicalPageCall(range));
      case 2 -> tellAfterBlocking(aboveAll(word(range, 1)), track());
      default -> tell(enter(), demote(word(range, 1)));
    }
  }

  private void tellOfLargePage(long large, int range) {
    switch (random.nextInt(7)) {
      case 0, 1 -> tell(augLarge(range));
      case 5 -> tellAfterBlocking(large, septRemove(large));
      case 2, 3 -> tellAfterBlocking(large, demote(large));
      case 4 -> tellAfterBlocking(large, promote(large));
      default -> tellAfterBlocking(large, mem(SeamcallLeaf.TDH_MEM_PAGE_REMOVE, large));
    }
  }

  private void tellOfSmallPage(long small, int range) {
    long large = word(range, 1);
    switch (random.nextInt(6)) {
      case 0, 1 -> tell(septAdd(large), augSmall(range, small));
      case 2 -> tellAfterBlocking(small, mem(SeamcallLeaf.TDH_MEM_PAGE_RELOCATE, small).r8(page()));
      case 3 -> tellAfterBlocking(large, septRemove(large));
      default -> tellAfterBlocking(small, mem(SeamcallLeaf.TDH_MEM_PAGE_REMOVE, small));
    }
  }

  /** BLOCK, TRACK, something, and UNBLOCK in case that it failed. */
  private void tellAfterBlocking(long word, SeamRegs then) {
    tell(
        mem(SeamcallLeaf.TDH_MEM_RANGE_BLOCK, word),
        track(),
        then,
        mem(SeamcallLeaf.TDH_MEM_RANGE_UNBLOCK, word));
  }

  private void tell(SeamRegs... calls) {
    story.addAll(List.of(calls));
  }

  private SeamRegs augLarge(int range) {
    return mem(SeamcallLeaf.TDH_MEM_PAGE_AUG, word(range, 1)).r8(region(range));
  }

  private SeamRegs augSmall(int range, long small) {
    return mem(SeamcallLeaf.TDH_MEM_PAGE_AUG, small)
        .r8(random.nextInt(4) > 0 ? region(range) | (small & 0x1FF000) : page());
  }

  private SeamRegs track() {
    return SeamRegs.leaf(SeamcallLeaf.TDH_MEM_TRACK).rcx(world.td().tdr);
  }

  private SeamRegs demote(long large) {
    return mem(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, large).r8(page()).r12(pairPage()).r13(pairPage());
  }

  private SeamRegs promote(long large) {
    return version(SeamcallLeaf.TDH_MEM_PAGE_PROMOTE).rcx(large).rdx(world.td().tdr);
  }

  private SeamRegs septRemove(long large) {
    return version(SeamcallLeaf.TDH_MEM_SEPT_REMOVE).rcx(large).rdx(world.td().tdr);
  }

  private SeamRegs septAdd(long word) {
    return version(SeamcallLeaf.TDH_MEM_SEPT_ADD)
        .rcx(word)
        .rdx(world.td().tdr | random.nextInt(2))
        .r8(page())
        .r9(NULL_PA)
        .r10(NULL_PA)
        .r11(NULL_PA);
  }

  private SeamRegs pamt(int range) {
    return random.nextBoolean()
        ? SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE).rcx(region(range) | 1)
        : SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD)
            .rcx(region(range) | 1)
            .rdx(pairPage())
            .r8(pairPage());
  }

  private SeamRegs enter() {
    return SeamRegs.leaf(SeamcallLeaf.TDH_VP_ENTER)
        .rcx(world.td().vcpus.get(random.nextInt(world.td().vcpus.size())));
  }

  /** The 1G or the 512G entry that leads to a 2M one; now and then. */
  private long aboveAll(long large) {
    int level = random.nextInt(8) == 0 ? 2 + random.nextInt(2) : 1;
    return (large & -(TestHost.PAGE << (9 * level))) | level;
  }

  private SeamRegs debugAccess(int range) {
    long gpa = word(range, 0) + 8L * random.nextInt(8);
    return random.nextBoolean()
        ? mem(SeamcallLeaf.TDH_MEM_RD, gpa)
        : mem(SeamcallLeaf.TDH_MEM_WR, gpa).r8(random.nextLong());
  }

  private SeamRegs physicalPageCall(int range) {
    long hpa = random.nextBoolean() ? page() : region(range);
    return switch (random.nextInt(5)) {
      case 0 -> SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_WBINVD).rcx(hpa | 3L << 45);
      case 1 -> SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM).rcx(hpa);
      case 2 -> SeamRegs.leaf(SeamcallLeaf.TDH_SYS_RD).rdx(SysFields.TDX_FEATURES0);
      case 3 -> SeamRegs.leaf(SeamcallLeaf.TDH_SYS_TDMR_INIT);
      default -> SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_RDMD).rcx(hpa | random.nextInt(3));
    };
  }

  private void spoil(SeamRegs regs) {
    long bit = 1L << random.nextInt(64);
    switch (random.nextInt(5)) {
      case 0 -> regs.rax ^= bit;
      case 1 -> regs.rcx ^= bit;
      case 2 -> regs.rdx ^= bit;
      case 3 -> regs.r8 ^= bit;
      default -> regs.r12 = regs.r13;
    }
    if ((int) (regs.rax & 0xFFFF) == SeamcallLeaf.TDH_SYS_LP_SHUTDOWN.number()) {
      regs.rax = SeamcallLeaf.TDH_SYS_INIT.number();
    }
  }

  private SeamRegs version(SeamcallLeaf leaf) {
    return SeamRegs.leaf(leaf, random.nextInt(2));
  }

  private SeamRegs mem(SeamcallLeaf leaf, long word) {
    return SeamRegs.leaf(leaf).rcx(word).rdx(world.td().tdr);
  }

  /** GPA and level of one of a range's first pages, or of what is above. */
  private long word(int range, int level) {
    long gpa = gpa(range) + random.nextInt(3) * TestHost.PAGE;
    return (gpa & -(TestHost.PAGE << (9 * level))) | level;
  }

  private static long gpa(int range) {
    return GPA + range * TestHost.MIB_2;
  }

  private static long region(int range) {
    return LARGE_PAGES + range * TestHost.MIB_2;
  }

  private long page() {
    return pages.get(random.nextInt(pages.size()));
  }

  private long pairPage() {
    return world.pairPages().get(random.nextInt(world.pairPages().size()));
  }

  /** A guest that accepts, touches and asks about pages of the ranges, at random. */
  private static final class RandomGuest implements TdGuest {

    private final Random random;
    private final long base;
    private int retired;

    RandomGuest(long seed, long base) {
      random = new Random(seed);
      this.base = base;
    }

    @Override
    public GuestInstruction next() {
      long large = base + random.nextInt(LARGE_RANGES) * TestHost.MIB_2;
      long small =
          base
              + (LARGE_RANGES + random.nextInt(RANGES - LARGE_RANGES)) * TestHost.MIB_2
              + random.nextInt(3) * TestHost.PAGE;
      if (retired > 20) {
        return new GuestInstruction.Vmcall(0, 0x10001, large, TestHost.MIB_2, 0, 0);
      }
      return switch (random.nextInt(6)) {
        case 0 -> ScriptedGuest.accept(large, 1);
        case 1 -> ScriptedGuest.accept(small, 0);
        case 2 -> ScriptedGuest.read(small);
        case 3 -> ScriptedGuest.write(small);
        case 4 -> new GuestInstruction.AttrRead(small);
        default -> new GuestInstruction.AttrWrite(small, 0, random.nextInt(2));
      };
    }

    @Override
    public void retired(GuestInstruction instruction, GuestOutcome outcome) {
      retired++;
    }
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
      return true;
    }
  }
}
