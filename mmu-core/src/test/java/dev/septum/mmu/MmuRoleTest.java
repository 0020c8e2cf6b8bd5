package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.PageLevel;
import org.junit.jupiter.api.Test;

class MmuRoleTest {

  private static final MmuRole ROOT = MmuRole.root(PageLevel.LEVEL_512G, true, 0);
  private static final MmuRole ROOT_5 = MmuRole.root(PageLevel.LEVEL_256T, true, 0);

  @Test
  void word_ofRoots_isTheKernels() {
    assertThat(ROOT.word()).isEqualTo(0x3784);
    assertThat(ROOT_5.word()).isEqualTo(0x3785);
    assertThat(ROOT.asMirror().word()).isEqualTo(0x83784);
    assertThat(ROOT_5.asMirror().word()).isEqualTo(0x83785);
    assertThat(MmuRole.root(PageLevel.LEVEL_512G, false, 0).word()).isEqualTo(0x13784);
    assertThat(MmuRole.root(PageLevel.LEVEL_512G, true, 1).word()).isEqualTo(0x1003784);
    assertThat(ROOT.asInvalid().word()).isEqualTo(0x3f84);
  }

  @Test
  void child_differsInTheLevelOnly() {
    assertThat(ROOT.child().word()).isEqualTo(0x3783);
    assertThat(ROOT_5.asMirror().child().child().word()).isEqualTo(0x83783);
    assertThat(ROOT.child().child().child().level()).isEqualTo(PageLevel.LEVEL_4K);
  }

  @Test
  void child_ofAnInvalidRoot_isNotInvalidItself() {
    assertThat(ROOT.asInvalid().child()).isEqualTo(ROOT.child());
  }

  @Test
  void accessors_readBackWhatWasSet() {
    assertThat(ROOT.level()).isEqualTo(PageLevel.LEVEL_512G);
    assertThat(ROOT.isMirror()).isFalse();
    assertThat(ROOT.asMirror().isMirror()).isTrue();
    assertThat(ROOT.isInvalid()).isFalse();
    assertThat(ROOT.asInvalid().isInvalid()).isTrue();
    assertThat(ROOT.asId()).isZero();
    assertThat(MmuRole.root(PageLevel.LEVEL_512G, true, 1).asId()).isEqualTo(1);
  }

  @Test
  void text_isTheKernels_andDoesNotTellAMirror() {
    assertThat(ROOT.text()).isEqualTo("l4 8-byte q0 direct wux nxe ad");
    assertThat(ROOT.asMirror().text()).isEqualTo(ROOT.text());
    assertThat(ROOT.asInvalid().text()).isEqualTo("l4 8-byte q0 direct wux invalid nxe ad");
    assertThat(MmuRole.root(PageLevel.LEVEL_256T, false, 0).text())
        .isEqualTo("l5 8-byte q0 direct wux nxe !ad");
  }
}
