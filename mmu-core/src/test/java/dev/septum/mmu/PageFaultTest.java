package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.PageLevel;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class PageFaultTest {

  private final TestVm td = TestVm.td();

  @AfterEach
  void vmIsSound() {
    td.assertSoundAndDestroy();
  }

  @Test
  void errorCodeText_namesTheBitsInTheKernelsOrder() {
    assertThat(PageFault.errorCodeText(0)).isEmpty();
    assertThat(PageFault.errorCodeText(7)).isEqualTo("P|W|U");
    assertThat(PageFault.errorCodeText(0x1f)).isEqualTo("P|W|U|RSVD|F");
    assertThat(PageFault.errorCodeText(0x807f)).isEqualTo("P|W|U|PK|SS|SGX|RSVD|F");
    assertThat(PageFault.errorCodeText(1L << 32)).isEqualTo("0x100000000");
    assertThat(PageFault.errorCodeText((1L << 32) | 7)).isEqualTo("P|W|U|0x100000000");
    assertThat(PageFault.errorCodeText(PageFault.PRIVATE | 2)).isEqualTo("W|0x2000000000000");
  }

  @Test
  void address_ofATd_isDirectWithTheSharedBitOnly() {
    PageFault isPrivate = new PageFault(td.mmu, 0x123456789L, PageFault.PRIVATE, false);
    assertThat(isPrivate.isDirect()).isFalse();
    assertThat(isPrivate.gfn()).isEqualTo(0x123456);

    long gpa = (1L << 47) | 0x123456789L;
    PageFault shared = new PageFault(td.mmu, gpa, PageFault.WRITE, false);
    assertThat(shared.isDirect()).isTrue();
    assertThat(shared.gfn()).isEqualTo(0x123456);
    assertThat(shared.gpa()).isEqualTo(gpa);
  }

  @Test
  void goal_raisedAndLowered_pointsThePfnAtThePageOfThatLevel() {
    PageFault fault = new PageFault(td.mmu, 0x123456000L, PageFault.WRITE, false);
    assertThat(fault.hasPfn()).isFalse();
    fault.resolve(0x7f456, true, PageLevel.LEVEL_1G);
    assertThat(fault.maxLevel()).isEqualTo(PageLevel.LEVEL_1G);

    fault.raiseGoal(PageLevel.LEVEL_1G);
    assertThat(fault.pfn()).isEqualTo(0x40000);
    fault.lowerGoal();
    assertThat(fault.goalLevel()).isEqualTo(PageLevel.LEVEL_2M);
    assertThat(fault.pfn()).isEqualTo(0x40000 | 0x23400);
    fault.lowerGoal();
    assertThat(fault.goalLevel()).isEqualTo(PageLevel.LEVEL_4K);
    assertThat(fault.pfn()).isEqualTo(0x40000 | 0x23456);
  }

  @Test
  void resolve_neverRaisesTheMaximalLevel() {
    PageFault fault = new PageFault(td.mmu, 0, PageFault.WRITE, false);
    fault.resolve(2, true, PageLevel.LEVEL_4K);

    fault.resolve(1, true, PageLevel.LEVEL_2M);

    assertThat(fault.maxLevel()).isEqualTo(PageLevel.LEVEL_4K);
  }
}
