package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.base.CharMatcher;
import com.google.common.base.Splitter;
import dev.septum.kernel.Kernel;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Which two calls on one TD proceed side by side, and which tell the second BUSY on what: every
 * pair, the second call made by another thread while the first one holds all its locks.
 */
final class ConcurrencyMatrixTest {

  /**
   * First call in rows, second in columns, on entries of their own: {@code .} proceeds, T is BUSY
   * on the S-EPT tree, D on the TDR, E on TD_EPOCH.
   */
  private static final String MATRIX =
      """
      .         ADD AUG SAD REM REL DEM SRD MRD BLK UNB PRO SRM TRK
      PAGE.ADD   D   D   D   D   D   D   D   D   D   D   D   D   D
      PAGE.AUG   D   .   .   .   .   .   .   .   T   T   T   T   .
      SEPT.ADD   D   .   .   .   .   .   .   .   T   T   T   T   .
      REMOVE     D   .   .   .   .   .   .   .   T   T   T   T   .
      RELOCATE   D   .   .   .   .   .   .   .   T   T   T   T   .
      DEMOTE     D   .   .   .   .   .   .   .   T   T   T   T   .
      SEPT.RD    D   .   .   .   .   .   .   .   T   T   T   T   .
      MEM.RD     D   .   .   .   .   .   .   .   T   T   T   T   .
      BLOCK      D   T   T   T   T   T   T   T   T   T   T   T   .
      UNBLOCK    D   T   T   T   T   T   T   T   T   T   T   T   .
      PROMOTE    D   T   T   T   T   T   T   T   T   T   T   T   .
      SEPT.RM    D   T   T   T   T   T   T   T   T   T   T   T   .
      TRACK      D   .   .   .   .   .   .   .   .   .   .   .   E
      """;

  private static final Splitter WORDS = Splitter.on(CharMatcher.whitespace()).omitEmptyStrings();

  private static final long GIB = 1L << 30;

  /** A TD that is being built, so that nothing needs TLB tracking, in which the calls are made. */
  private static final class World {

    final TdxModule module =
        new TdxModule(Kernel.host(), TdxModuleConfig.defaults(), ModuleTestCase.GIB);
    final TestHost host = new TestHost(module);
    final TestTd td = host.createTd(TdParams.defaults().withAttributes(TdParams.DEBUG));

    /** A fresh 2M range; each has tables of its own below 1G. */
    long range(int number) {
      long gpa = GIB * (1 + number);
      td.addTables(gpa, 1);
      return gpa;
    }

    long large(int number) {
      return mapped(range(number), 1, host.largePage());
    }

    long small(int number) {
      long gpa = range(number);
      td.addTables(gpa, 0);
      return mapped(gpa, 0, host.controlPage());
    }

    private long mapped(long gpa, int level, long hpa) {
      host.mustCall(SeamcallLeaf.TDH_MEM_PAGE_AUG, gpa | level, td.tdr, hpa);
      return gpa;
    }

    SeamRegs mem(SeamcallLeaf leaf, long word) {
      return SeamRegs.leaf(leaf).rcx(word).rdx(td.tdr);
    }

    SeamRegs pageAdd(int number) {
      long gpa = range(number);
      td.addTables(gpa, 0);
      return mem(SeamcallLeaf.TDH_MEM_PAGE_ADD, gpa).r8(host.controlPage());
    }

    SeamRegs memRd(int number) {
      SeamRegs add = host.mustCall(pageAdd(number));
      assertThat(add.rcx).isZero();
      return mem(SeamcallLeaf.TDH_MEM_RD, GIB * (1 + number));
    }

    SeamRegs unblock(int number) {
      long gpa = large(number);
      assertThat(td.block(gpa, 1)).isZero();
      return mem(SeamcallLeaf.TDH_MEM_RANGE_UNBLOCK, gpa | 1);
    }

    SeamRegs promote(int number) {
      long gpa = large(number);
      host.mustCall(td.demoteRegs(gpa));
      return mem(SeamcallLeaf.TDH_MEM_PAGE_PROMOTE, gpa | 1);
    }

    SeamRegs septRemove(int number) {
      long gpa = range(number);
      td.addTables(gpa, 0);
      return mem(SeamcallLeaf.TDH_MEM_SEPT_REMOVE, gpa | 1);
    }
  }

  /** Each call, prepared so that it succeeds in a range of its own. */
  private static final Map<String, BiFunction<World, Integer, SeamRegs>> CALLS =
      Map.ofEntries(
          Map.entry("ADD", World::pageAdd),
          Map.entry(
              "AUG",
              (w, n) ->
                  w.mem(SeamcallLeaf.TDH_MEM_PAGE_AUG, w.range(n) | 1).r8(w.host.largePage())),
          Map.entry(
              "SAD",
              (w, n) ->
                  w.mem(SeamcallLeaf.TDH_MEM_SEPT_ADD, w.range(n) | 1).r8(w.host.controlPage())),
          Map.entry("REM", (w, n) -> w.mem(SeamcallLeaf.TDH_MEM_PAGE_REMOVE, w.large(n) | 1)),
          Map.entry(
              "REL",
              (w, n) ->
                  w.mem(SeamcallLeaf.TDH_MEM_PAGE_RELOCATE, w.small(n)).r8(w.host.controlPage())),
          Map.entry("DEM", (w, n) -> w.td.demoteRegs(w.large(n))),
          Map.entry("SRD", (w, n) -> w.mem(SeamcallLeaf.TDH_MEM_SEPT_RD, w.large(n) | 1)),
          Map.entry("MRD", World::memRd),
          Map.entry("BLK", (w, n) -> w.mem(SeamcallLeaf.TDH_MEM_RANGE_BLOCK, w.large(n) | 1)),
          Map.entry("UNB", World::unblock),
          Map.entry("PRO", World::promote),
          Map.entry("SRM", World::septRemove),
          Map.entry("TRK", (w, n) -> SeamRegs.leaf(SeamcallLeaf.TDH_MEM_TRACK).rcx(w.td.tdr)));

  /** The columns' names, which are the rows' too, in the same order. */
  private static final List<String> NAMES =
      WORDS.splitToList(MATRIX.lines().findFirst().orElseThrow().substring(1));

  /** First call, second call, letter. */
  static Stream<List<String>> pairs() {
    List<String> rows = MATRIX.lines().skip(1).toList();
    List<List<String>> pairs = new ArrayList<>();
    for (int i = 0; i < NAMES.size(); i++) {
      List<String> cells = WORDS.splitToList(rows.get(i));
      for (int j = 0; j < NAMES.size(); j++) {
        pairs.add(List.of(NAMES.get(i), NAMES.get(j), cells.get(j + 1)));
      }
    }
    return pairs.stream();
  }

  @ParameterizedTest
  @MethodSource("pairs")
  void secondCall_whileTheFirstHoldsItsLocks(List<String> pair) {
    World world = new World();
    SeamRegs first = call(world, pair.get(0), 0);
    SeamRegs second = call(world, pair.get(1), 1);
    SeamRegs retry = new SeamRegs();
    retry.copyFrom(second);
    SeamcallLeaf firstLeaf = SeamcallLeaf.of((int) first.rax).orElseThrow();
    world.module.injector().on(firstLeaf).meanwhile(() -> inAnotherThread(world, second));
    world.host.mustCall(first);
    ModuleTestCase.assertStatus(second.rax, status(pair.get(2), pair.get(1)));
    if (second.rax != 0) {
      world.host.mustCall(retry);
    }
    assertThat(world.module.view().violations()).isEmpty();
  }

  private static SeamRegs call(World world, String name, int range) {
    BiFunction<World, Integer, SeamRegs> call = CALLS.get(name);
    assertThat(call).as(name).isNotNull();
    return call == null ? new SeamRegs() : call.apply(world, range);
  }

  private static void inAnotherThread(World world, SeamRegs regs) {
    Kernel.host().spawn("second", () -> world.module.seamcall(regs)).join();
  }

  private static long status(String letter, String second) {
    return switch (letter) {
      case "." -> TdxStatus.TDX_SUCCESS;
      case "T" -> 0x8000020000000092L;
      case "D" -> second.equals("TRK") ? 0x8000020000000001L : 0x8000020000000002L;
      case "E" -> 0x80000200000000A9L;
      default -> throw new IllegalArgumentException(letter);
    };
  }
}
