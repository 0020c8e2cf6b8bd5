package dev.septum.tdx;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.MmuView;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.module.GuestOutcome;
import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** MapGPA: 2 MiB pieces from the guest's own address on, and the answers that the guest gets. */
final class MapGpaTest extends TdTestCase {

  private static final long SHARED = KvmTdx.SHARED_BIT;

  private final Vmm vmm = boot();
  private final KvmTdx kvm = vmm.kvm();
  private final MapGpa mapGpa = new MapGpa(vmm.vcpus().get(0));
  private final SeamRegs regs = new SeamRegs();

  private @Nullable RunExit start(long r12, long r13) {
    regs.r12 = r12;
    regs.r13 = r13;
    regs.r10 = 0x1234;
    regs.r11 = Vmcalls.MAP_GPA;
    return mapGpa.start(regs);
  }

  /** All pieces of a call that user space grants. */
  private List<RunExit> pieces(long r12, long r13) {
    List<RunExit> pieces = new ArrayList<>();
    RunExit piece = start(r12, r13);
    while (piece != null) {
      assertThat(mapGpa.isPending()).isTrue();
      pieces.add(piece);
      mapGpa.complete(0);
      piece = mapGpa.next(regs);
    }
    return pieces;
  }

  @Test
  void pieces_startAtTheGuestsAddressAndAre2MiBButTheLast() {
    assertThat(pieces(0x2ff000 | SHARED, 5 * MIB))
        .containsExactly(
            new RunExit.MapGpa(0x2ff000, 2 * MIB, false),
            new RunExit.MapGpa(0x4ff000, 2 * MIB, false),
            new RunExit.MapGpa(0x6ff000, MIB, false));
    assertThat(regs.r10).isEqualTo(Vmcalls.SUCCESS);
    assertThat(mapGpa.isPending()).isFalse();
    assertThat(kvm.counters().get(TdxCounter.MAP_GPA_CALLS)).isEqualTo(1);
    assertThat(kvm.counters().get(TdxCounter.MAP_GPA_CHUNKS)).isEqualTo(3);
  }

  @ParameterizedTest
  @CsvSource({"0x1000, 1", "0x200000, 1", "0x201000, 2", "0x400000, 2", "0x40000000, 512"})
  void pieces_areAsManyAsTheLengthTakes(long bytes, int pieces) {
    assertThat(pieces(0x200000 | SHARED, bytes)).hasSize(pieces);
  }

  @Test
  void withoutTheSharedBit_asksForPrivate() {
    assertThat(pieces(0x200000, MIB)).containsExactly(new RunExit.MapGpa(0x200000, MIB, true));
    assertThat(regs.r10).isEqualTo(Vmcalls.SUCCESS);
  }

  @Test
  void upToTheLastPrivateAddress_isAllowed() {
    assertThat(start(SHARED - 0x1000, 0x1000))
        .isEqualTo(new RunExit.MapGpa(SHARED - 0x1000, 0x1000, true));
  }

  @ParameterizedTest(name = "gpa {0}, size {1}")
  @CsvSource({
    "0x200001, 0x1000",
    "0x200000, 0x1001",
    "0x200800, 0x1800",
  })
  void unaligned_isAnAlignError(long gpa, long size) {
    assertThat(start(gpa | SHARED, size)).isNull();
    assertThat(regs.r10).isEqualTo(Vmcalls.ALIGN_ERROR);
    assertThat(mapGpa.isPending()).isFalse();
  }

  @ParameterizedTest(name = "gpa {0}, size {1}")
  @CsvSource({
    "0x200000, 0",
    "0x200000, 0x7ffffffffffff000",
    "0x200000, -4096",
    "0x7ffffffff000, 0x2000",
    "0x1000000000000, 0x1000",
    "-9223372036854775808, 0x1000",
  })
  void emptyOrTooLargeOrWrapping_isAnInvalidOperand(long gpa, long size) {
    assertThat(start(gpa, size)).isNull();
    assertThat(regs.r10).isEqualTo(Vmcalls.INVALID_OPERAND);
    assertThat(kvm.counters().get(TdxCounter.MAP_GPA_CHUNKS)).isZero();
  }

  @ParameterizedTest
  @ValueSource(longs = {0, KvmTdx.SHARED_BIT})
  void aPieceThatUserSpaceRefuses_endsTheCallThere(long sharedBit) {
    start(0x2ff000 | sharedBit, 6 * MIB);
    mapGpa.complete(0);
    assertThat(mapGpa.next(regs)).isNotNull();
    mapGpa.complete(-12);

    assertThat(mapGpa.next(regs)).isNull();
    assertThat(regs.r10).isEqualTo(Vmcalls.INVALID_OPERAND);
    assertThat(regs.r11).isEqualTo(0x4ff000 | sharedBit);
    assertThat(mapGpa.isPending()).isFalse();
  }

  @Test
  void aCallAfterARefusedOne_startsAfresh() {
    start(0x200000, MIB);
    mapGpa.complete(-12);
    mapGpa.next(regs);
    assertThat(pieces(0x600000 | SHARED, 0x1000))
        .containsExactly(new RunExit.MapGpa(0x600000, 0x1000, false));
    assertThat(regs.r10).isEqualTo(Vmcalls.SUCCESS);
  }

  @Test
  void theLengthOfAPiece_isTheVms() {
    TdLayout layout = layout(1, true, PageLevel.LEVEL_2M);
    Vmm other =
        boot(
            new TdLayout(
                ImmutableList.copyOf(layout.memory()),
                layout.firmware(),
                1,
                4 * MIB,
                true,
                PageLevel.LEVEL_2M));
    MapGpa wide = new MapGpa(other.vcpus().get(0));
    regs.r12 = 0x1000;
    regs.r13 = 5 * MIB;
    assertThat(wide.start(regs)).isEqualTo(new RunExit.MapGpa(0x1000, 4 * MIB, true));
    wide.complete(0);
    assertThat(wide.next(regs)).isEqualTo(new RunExit.MapGpa(0x1000 + 4 * MIB, MIB, true));
  }

  @Test
  void aGuestsCall_convertsPieceByPiece() {
    OneInstruction call = OneInstruction.vmcall(Vmcalls.MAP_GPA, 0x3ff000 | SHARED, 3 * MIB);
    vmm.runToHalt(vmm.vcpus().get(0), GuestProgram.of(call));

    assertThat(call.outcome())
        .isEqualTo(
            new GuestOutcome.VmcallReturned(0, Vmcalls.MAP_GPA, 0x3ff000 | SHARED, 3 * MIB, 0, 0));
    MmuView view = new MmuView(kvm.mmu());
    assertThat(view.isPrivate(0x3fe)).isTrue();
    assertThat(view.isPrivate(0x3ff)).isFalse();
    assertThat(view.isPrivate(0x6fe)).isFalse();
    assertThat(view.isPrivate(0x6ff)).isTrue();
    assertThat(kvm.counters().get(TdxCounter.MAP_GPA_CHUNKS)).isEqualTo(2);
  }

  @Test
  void aGuestsCallOutsideMemory_isRefusedByUserSpace() {
    OneInstruction call = OneInstruction.vmcall(Vmcalls.MAP_GPA, (1L << 40) | SHARED, MIB);
    vmm.runToHalt(vmm.vcpus().get(0), GuestProgram.of(call));
    assertThat(call.outcome())
        .isEqualTo(
            new GuestOutcome.VmcallReturned(
                Vmcalls.INVALID_OPERAND, (1L << 40) | SHARED, (1L << 40) | SHARED, MIB, 0, 0));
  }

  @Test
  void anUnknownVmcall_isUnsupported() {
    OneInstruction call = OneInstruction.vmcall(0x10099, 1, 2);
    vmm.runToHalt(vmm.vcpus().get(0), GuestProgram.of(call));
    assertThat(call.outcome())
        .isEqualTo(
            new GuestOutcome.VmcallReturned(Vmcalls.SUBFUNC_UNSUPPORTED, 0x10099, 1, 2, 0, 0));
  }
}
