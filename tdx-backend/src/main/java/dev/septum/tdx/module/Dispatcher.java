package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Sets;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** What is checked of every SEAMCALL before its leaf runs: RAX, and the module's state. */
final class Dispatcher {

  private static final long RESERVED = 0xFFFFFFFFFF000000L;

  /** Leafs that have versions; each checks for itself which. */
  private static final ImmutableSet<Integer> VERSIONED =
      ImmutableSet.of(3, 11, 22, 23, 26, 30, 33, 53);

  private static final Set<SeamcallLeaf> BRING_UP =
      Sets.immutableEnumSet(
          SeamcallLeaf.TDH_SYS_KEY_CONFIG,
          SeamcallLeaf.TDH_SYS_INIT,
          SeamcallLeaf.TDH_SYS_RD,
          SeamcallLeaf.TDH_SYS_LP_INIT,
          SeamcallLeaf.TDH_SYS_LP_SHUTDOWN,
          SeamcallLeaf.TDH_SYS_CONFIG);

  private Dispatcher() {}

  /** The leaf that RAX asks for; null if the call is refused, with the status in RAX. */
  static @Nullable SeamcallLeaf leafOf(SeamRegs regs, BringUp bringUp) {
    long rax = regs.rax;
    int number = (int) rax & 0xFFFF;
    boolean hasVersion = (rax & 0xFF0000) != 0;
    Optional<SeamcallLeaf> leaf = SeamcallLeaf.of(number);
    if ((rax & RESERVED) != 0 || (hasVersion && !VERSIONED.contains(number))) {
      return refuse(regs, TdxStatus.TDX_OPERAND_INVALID | OperandId.RAX);
    }
    if (bringUp.is(SysState.SHUT_DOWN)
        && !leaf.equals(Optional.of(SeamcallLeaf.TDH_SYS_LP_SHUTDOWN))) {
      return refuse(regs, TdxStatus.TDX_SYS_SHUTDOWN);
    }
    if (!bringUp.is(SysState.READY) && leaf.filter(BRING_UP::contains).isEmpty()) {
      return refuse(regs, TdxStatus.TDX_SYS_NOT_READY);
    }
    return leaf.isPresent()
        ? leaf.get()
        : refuse(regs, TdxStatus.TDX_OPERAND_INVALID | OperandId.RAX);
  }

  private static @Nullable SeamcallLeaf refuse(SeamRegs regs, long status) {
    regs.rax = status;
    return null;
  }
}
