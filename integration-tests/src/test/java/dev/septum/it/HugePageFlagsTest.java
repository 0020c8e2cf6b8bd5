package dev.septum.it;

import static dev.septum.it.TdScenario.GFN;
import static dev.septum.it.TdScenario.GIB;
import static dev.septum.it.TdScenario.leafs2M;
import static dev.septum.it.TdScenario.leafs4K;
import static dev.septum.it.TdScenario.run;
import static dev.septum.it.TdScenario.setAttributes;
import static dev.septum.tdx.TdxDesign.POSTED_V3;
import static dev.septum.tdx.TdxDesign.SOUND;
import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.Memslot;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.SplitDesign;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.AcceptMemory.Order;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * What forbids huge mappings: MIXED, which follows the attributes, and the guest's inhibit, which
 * nothing ever clears. The slot has two whole 1G ranges.
 */
@EachDesign
final class HugePageFlagsTest {

  private static final long GIB_PAGES = 0x40000;

  private final TdxDesign design;
  @RegisterExtension final TdScenario host;

  HugePageFlagsTest(TdxDesign design) {
    this.design = design;
    host = TdScenario.packed(design);
  }

  private Vmm boot() {
    return host.boot(
        TdScenario.withVirtualizationExceptions(
            TdScenario.layout(1, new TdLayout.Region(0, 2 * GIB))));
  }

  private static Memslot slot(Vmm vmm) {
    return requireNonNull(vmm.kvm().mmu().memslots().find(GFN));
  }

  /** Every range of the slot that is MIXED, as its level and first gfn. */
  private static List<String> mixed(Vmm vmm) {
    MmuView mmu = new MmuView(vmm.kvm().mmu());
    List<String> mixed = new ArrayList<>();
    for (PageLevel level : List.of(PageLevel.LEVEL_2M, PageLevel.LEVEL_1G)) {
      for (long gfn = 0; gfn < 2 * GIB_PAGES; gfn += level.pages()) {
        if (mmu.isMixed(slot(vmm), gfn, level)) {
          mixed.add("%s 0x%x".formatted(level, gfn));
        }
      }
    }
    return mixed;
  }

  private static void set(Vmm vmm, long start, long end, boolean isPrivate) {
    assertThat(setAttributes(vmm, start, end, isPrivate)).isEqualTo(Errno.OK);
  }

  @Test
  void mixed_followsTheAttributes_atBothLevels() {
    Vmm vmm = boot();
    assertThat(mixed(vmm)).isEmpty();
    set(vmm, 0x210, 0x220, false);
    assertThat(mixed(vmm)).containsExactly("LEVEL_2M 0x200", "LEVEL_1G 0x0");
    set(vmm, 0x200, 0x400, false);
    assertThat(mixed(vmm)).as("the 2M range is shared throughout").containsExactly("LEVEL_1G 0x0");
    set(vmm, 0x3ff, 0x400, true);
    assertThat(mixed(vmm)).containsExactly("LEVEL_2M 0x200", "LEVEL_1G 0x0");
    set(vmm, 0x200, 0x400, true);
    assertThat(mixed(vmm)).isEmpty();
  }

  @Test
  void mixed_acrossA1GBoundary_isOnBothSidesAtBothLevels() {
    Vmm vmm = boot();
    set(vmm, GIB_PAGES - 1, GIB_PAGES + 1, false);
    assertThat(mixed(vmm))
        .containsExactly(
            "LEVEL_2M 0x3fe00", "LEVEL_2M 0x40000", "LEVEL_1G 0x0", "LEVEL_1G 0x40000");
    set(vmm, GIB_PAGES - 1, GIB_PAGES, true);
    assertThat(mixed(vmm)).containsExactly("LEVEL_2M 0x40000", "LEVEL_1G 0x40000");
  }

  @Test
  void mixed_ofAWhole1GRangeThatBecomesShared_isNowhere() {
    Vmm vmm = boot();
    set(vmm, 0x210, 0x220, false);
    set(vmm, 0, GIB_PAGES, false);
    assertThat(mixed(vmm)).isEmpty();
    set(vmm, 0x200, 0x400, true);
    assertThat(mixed(vmm)).containsExactly("LEVEL_1G 0x0");
  }

  /** Where the error is lost (D1) the attributes change all the same, and MIXED with them. */
  @Test
  void mixed_ofAChangeThatFails_isThatOfTheAttributes() {
    Vmm vmm = boot();
    TdScenario.accept2M(vmm, GFN, 1);
    host.pages().faults().failNext(PageOwner.EXTERNAL_PAGE_TABLE.tag(), 1);
    Errno error = setAttributes(vmm, 0x210, 0x220, false);
    if (design.mmu().errors() == SplitDesign.Errors.RETURNED) {
      assertThat(error).isEqualTo(Errno.ENOMEM);
      assertThat(mixed(vmm)).isEmpty();
    } else {
      assertThat(error).isEqualTo(Errno.OK);
      assertThat(mixed(vmm)).containsExactly("LEVEL_2M 0x200", "LEVEL_1G 0x0");
      assertThat(host.brokenInvariants())
          .containsExactly("VM 1: the mirror leaf at gfn 0x200 maps shared frames");
    }
  }

  /** Every range of the first 1G and the first of the second that the guest forbade. */
  private static List<String> inhibited(Vmm vmm) {
    List<String> inhibited = new ArrayList<>();
    for (PageLevel level : List.of(PageLevel.LEVEL_2M, PageLevel.LEVEL_1G)) {
      for (long gfn = 0; gfn < 2 * GIB_PAGES; gfn += level.pages()) {
        if (slot(vmm).hasGuestInhibit(gfn, level)) {
          inhibited.add("%s 0x%x".formatted(level, gfn));
        }
      }
    }
    return inhibited;
  }

  private static AcceptMemory accept(long start, long end, Order order) {
    return new AcceptMemory(start << 12, end << 12, order);
  }

  /** What becomes of the memory after the guest has accepted one page of it. */
  enum After {
    ATTRIBUTES_AND_BACK {
      @Override
      void happens(Vmm vmm) {
        assertThat(TdScenario.share(vmm, GFN, GFN + 512)).isEqualTo(Errno.OK);
        assertThat(vmm.convert(GFN << 12, 2 * TdScenario.MIB, true)).isEqualTo(Errno.OK);
      }
    },
    PUNCH_HOLE {
      @Override
      void happens(Vmm vmm) {
        assertThat(vmm.files().get(0).punchHole(GFN, GFN + 512)).isEqualTo(Errno.OK);
      }
    },
    CONVERSION_AND_BACK {
      @Override
      void happens(Vmm vmm) {
        GuestMemfd file = vmm.files().get(0);
        assertThat(file.convertToShared(GFN, GFN + 512).error()).isEqualTo(Errno.OK);
        assertThat(file.convertToPrivate(GFN, GFN + 512).error()).isEqualTo(Errno.OK);
      }
    },
    NOTHING {
      @Override
      void happens(Vmm vmm) {}
    };

    abstract void happens(Vmm vmm);
  }

  @ParameterizedTest(name = "{0}")
  @EnumSource(After.class)
  void s17_inhibit_outlivesZapConversionAndALargerAccept(After after) {
    Vmm vmm = boot();
    run(vmm, accept(GFN + 5, GFN + 6, Order.TOUCH_FIRST));
    assertThat(inhibited(vmm)).containsExactly("LEVEL_2M 0x200", "LEVEL_1G 0x0");

    after.happens(vmm);

    assertThat(inhibited(vmm)).containsExactly("LEVEL_2M 0x200", "LEVEL_1G 0x0");
    AcceptMemory larger = accept(GFN, GFN + 1024, Order.ACCEPT_FIRST);
    run(vmm, larger);
    assertThat(larger.accepts2M()).as("the neighbour").isEqualTo(1);
    assertThat(larger.accepts4K()).isEqualTo(512);
    assertThat(leafs2M(vmm)).containsExactly(GFN + 512);
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(512);
    assertThat(inhibited(vmm)).containsExactly("LEVEL_2M 0x200", "LEVEL_1G 0x0");
  }

  /** A 4K ACCEPT forbids 2M and 1G around it, and nothing in the next 1G range. */
  @Test
  void s17_inhibit_isForTheRangesAroundThePageOnly() {
    Vmm vmm = boot();
    long gfn = GIB_PAGES + GFN;
    run(vmm, accept(gfn, gfn + 1, Order.ACCEPT_FIRST));
    assertThat(inhibited(vmm)).containsExactly("LEVEL_2M 0x40200", "LEVEL_1G 0x40000");
    TdScenario.accept2M(vmm, GFN, 1);
    assertThat(inhibited(vmm))
        .containsExactly("LEVEL_2M 0x40200", "LEVEL_1G 0x0", "LEVEL_1G 0x40000");
  }

  /** Lost or not, the error comes before the flag, so the ACCEPT asks again. */
  @Test
  void s17_inhibit_ofAnAcceptWhoseSplitFails_comesWithTheSplitThatSucceeds() {
    Vmm vmm = boot();
    AcceptMemory accept = accept(GFN + 5, GFN + 6, Order.TOUCH_FIRST);
    host.pages().faults().failNext(PageOwner.EXTERNAL_PAGE_TABLE.tag(), 1);
    try {
      run(vmm, accept);
      assertThat(design).as("resumes the guest into the same violation").isEqualTo(POSTED_V3);
    } catch (Vmm.VmmException e) {
      assertThat(design).isEqualTo(SOUND);
      assertThat(e).hasMessageContaining("ENOMEM");
      assertThat(inhibited(vmm)).isEmpty();
      assertThat(leafs2M(vmm)).containsExactly(GFN);
      run(vmm, accept);
    }
    assertThat(inhibited(vmm)).containsExactly("LEVEL_2M 0x200", "LEVEL_1G 0x0");
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(512);
    assertThat(vmm.kvm().counters().get(TdxCounter.ACCEPT_EPT_VIOLATIONS)).isEqualTo(2);
  }
}
