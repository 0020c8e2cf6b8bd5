package dev.septum.tdx;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.dpamt.Dpamt;
import dev.septum.dpamt.DpamtShape;
import dev.septum.dpamt.PagePair;
import dev.septum.dpamt.PamtAddStatus;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.TraceSink;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxModule;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.module.TdxModuleView.PagePairView;
import dev.septum.tdx.module.TdxStatus;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Dynamic PAMT on the real module: what its status words come to. */
class ModulePamtTest {

  private static final long GIB = 1L << 30;
  private static final long RANGE = 512 * 100;
  private static final PagePair PAIR = new PagePair(7, 9);

  private final Kernel kernel = Kernel.host();
  private final TdxModule module = new TdxModule(kernel, TdxModuleConfig.defaults(), GIB);
  private final ModulePamt pamt = new ModulePamt(new Seamcalls(module, TraceSink.OFF));

  @Test
  void addAndRemove_giveTheModuleAPairAndTakeTheSameBack() {
    assertThat(pamt.add(RANGE, PAIR)).isEqualTo(PamtAddStatus.ADDED);
    assertThat(module.view().pamtPairs())
        .isEqualTo(Map.of(RANGE << 12, new PagePairView(7 << 12, 9 << 12, 0)));

    assertThat(pamt.remove(RANGE)).isEqualTo(PAIR);
    assertThat(module.view().pamtPairs()).isEmpty();
  }

  @Test
  void addToARangeThatHasAPair_isRangeNotFree() {
    pamt.add(RANGE, PAIR);
    assertThat(pamt.add(RANGE, new PagePair(11, 12))).isEqualTo(PamtAddStatus.RANGE_NOT_FREE);
  }

  @Test
  void addOfAPageThatIsInUse_isFailed() {
    pamt.add(RANGE, PAIR);
    assertThat(pamt.add(RANGE + 512, PAIR)).isEqualTo(PamtAddStatus.FAILED);
  }

  @ParameterizedTest
  @CsvSource({"0x8000020000000001, BUSY", "0xC000030400000001, RANGE_NOT_FREE"})
  void addRefused_isNamedByItsStatus(String status, PamtAddStatus expected) {
    module
        .injector()
        .failNext(
            SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, 1, Long.parseUnsignedLong(status.substring(2), 16));
    assertThat(pamt.add(RANGE, PAIR)).isEqualTo(expected);
  }

  @Test
  void removeOfWhatIsNotThere_isNull() {
    assertThat(pamt.remove(RANGE)).isNull();
  }

  /** The range is for 4K pages only from then on: a 2M page may not have a page pair. */
  @ParameterizedTest
  @EnumSource
  void removeFailed_thePairStaysWhateverComesAfter(DpamtShape shape) {
    PageAllocator pages = new PageAllocator(kernel, GIB, Placement.SEQUENTIAL, 0);
    Dpamt dpamt = Dpamt.enabled(kernel, pages, pamt, shape);
    dpamt.get(RANGE);
    module
        .injector()
        .failNext(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, 1, TdxStatus.TDX_OPERAND_BUSY | 1);
    dpamt.put(RANGE);

    assertThat(dpamt.get(RANGE + 3)).isEqualTo(Errno.OK);
    dpamt.put(RANGE + 3);

    assertThat(module.view().pamtPairs()).containsOnlyKeys(RANGE << 12);
    assertThat(dpamt.stuckRanges()).isEqualTo(Set.of(RANGE));
    assertThat(module.callsOf(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE)).isEqualTo(1);
  }
}
