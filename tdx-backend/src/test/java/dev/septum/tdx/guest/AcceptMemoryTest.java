package dev.septum.tdx.guest;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.tdx.guest.AcceptMemory.Order;
import dev.septum.tdx.module.AccessKind;
import dev.septum.tdx.module.GuestInstruction;
import dev.septum.tdx.module.GuestOutcome;
import dev.septum.tdx.module.TdxStatus;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class AcceptMemoryTest {

  private static final long SIZE_2M = 2L << 20;

  private static void retire(AcceptMemory accept, long status) {
    accept.retired(new GuestOutcome.Status(status));
  }

  /** A host that grants every ACCEPT. */
  private static void acceptAll(AcceptMemory accept) {
    while (!accept.isDone()) {
      retire(accept, TdxStatus.TDX_SUCCESS);
    }
  }

  @ParameterizedTest(name = "[{0}, {1})")
  @CsvSource({
    "0, 0, 0, 0",
    "0, 0x1000, 0, 1",
    "0, 0x200000, 1, 0",
    "0x1000, 0x200000, 0, 511",
    "0x1000, 0x601000, 2, 512",
    "0x200000, 0x5ff000, 1, 511",
    "0x1ff000, 0x401000, 1, 2",
  })
  void counts_are2MWhereAWholePageIsLeftAnd4KElsewhere(
      long start, long end, long large, long small) {
    AcceptMemory accept = new AcceptMemory(start, end, Order.ACCEPT_FIRST);
    acceptAll(accept);
    assertThat(accept.accepts2M()).isEqualTo(large);
    assertThat(accept.accepts4K()).isEqualTo(small);
  }

  @Test
  void instructions_goUpwardsAndNameTheLevel() {
    AcceptMemory accept = new AcceptMemory(0x1ff000, 0x401000, Order.ACCEPT_FIRST);
    assertThat(accept.next()).isEqualTo(new GuestInstruction.Accept(0x1ff000, 0));
    retire(accept, 0);
    assertThat(accept.next()).isEqualTo(new GuestInstruction.Accept(0x200000, 1));
    assertThat(accept.next()).as("until it retires").isEqualTo(accept.next());
    retire(accept, 0);
    assertThat(accept.next()).isEqualTo(new GuestInstruction.Accept(0x400000, 0));
    retire(accept, 0);
    assertThat(accept.isDone()).isTrue();
  }

  @Test
  void aSizeMismatch_makesTheGuestAcceptThatPageAt4KAndTheNextAt2MAgain() {
    AcceptMemory accept = new AcceptMemory(SIZE_2M, 3 * SIZE_2M, Order.ACCEPT_FIRST);
    retire(accept, TdxStatus.TDX_PAGE_SIZE_MISMATCH | 1);
    for (int i = 0; i < 512; i++) {
      assertThat(accept.next()).isEqualTo(new GuestInstruction.Accept(SIZE_2M + i * 4096L, 0));
      retire(accept, 0);
    }
    assertThat(accept.next()).isEqualTo(new GuestInstruction.Accept(2 * SIZE_2M, 1));
    retire(accept, 0);
    assertThat(accept.isDone()).isTrue();
    assertThat(accept.accepts2M()).isEqualTo(1);
    assertThat(accept.accepts4K()).isEqualTo(512);
  }

  @Test
  void touchFirst_writesToEachPageBeforeItAcceptsIt() {
    AcceptMemory accept = new AcceptMemory(0x1ff000, 0x400000, Order.TOUCH_FIRST);
    assertThat(accept.next()).isEqualTo(new GuestInstruction.Access(0x1ff000, AccessKind.WRITE));
    accept.retired(new GuestOutcome.VirtualizationException(0x1ff000, 0));
    assertThat(accept.next()).isEqualTo(new GuestInstruction.Accept(0x1ff000, 0));
    retire(accept, 0);
    assertThat(accept.next()).isEqualTo(new GuestInstruction.Access(0x200000, AccessKind.WRITE));
    accept.retired(new GuestOutcome.VirtualizationException(0x200000, 0));
    assertThat(accept.next()).isEqualTo(new GuestInstruction.Accept(0x200000, 1));
    retire(accept, 0);
    assertThat(accept.isDone()).isTrue();
  }

  @Test
  void aPageThatIsAcceptedAlready_isFine() {
    AcceptMemory accept = new AcceptMemory(0, 0x1000, Order.TOUCH_FIRST);
    accept.retired(new GuestOutcome.Done());
    retire(accept, TdxStatus.TDX_PAGE_ALREADY_ACCEPTED);
    assertThat(accept.isDone()).isTrue();
    assertThat(accept.accepts4K()).isEqualTo(1);
  }

  @ParameterizedTest
  @ValueSource(longs = {TdxStatus.TDX_OPERAND_BUSY, TdxStatus.TDX_OPERAND_INVALID})
  void anyOtherStatus_panics(long status) {
    AcceptMemory accept = new AcceptMemory(0, SIZE_2M, Order.ACCEPT_FIRST);
    assertThatThrownBy(() -> retire(accept, status))
        .isInstanceOf(GuestPanic.class)
        .hasMessageStartingWith("ACCEPT of GPA 0x0 failed: TDX_OPERAND_");
  }

  @Test
  void aSizeMismatchAt4K_panics() {
    AcceptMemory accept = new AcceptMemory(0, 0x1000, Order.ACCEPT_FIRST);
    assertThatThrownBy(() -> retire(accept, TdxStatus.TDX_PAGE_SIZE_MISMATCH))
        .isInstanceOf(GuestPanic.class)
        .hasMessageContaining("TDX_PAGE_SIZE_MISMATCH");
  }

  @ParameterizedTest
  @CsvSource({"1, 0x1000", "0, 0xfff", "0x2000, 0x1000"})
  void rangesThatAreNone_areRefused(long start, long end) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new AcceptMemory(start, end, Order.ACCEPT_FIRST))
        .withMessage("cannot accept [0x%x, 0x%x)".formatted(start, end));
  }
}
