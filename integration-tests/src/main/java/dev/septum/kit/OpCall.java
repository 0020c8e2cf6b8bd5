package dev.septum.kit;

import com.google.common.collect.ImmutableSortedSet;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import org.jspecify.annotations.Nullable;

/**
 * One call of an op, as the backend met it.
 *
 * @param op the kernel's name of the op
 * @param gfn the first frame, 0 for ops on caches
 * @param level the level of the call, null for ops without one
 * @param locks what the caller held
 * @param mode how it held mmu_lock, null if not at all
 * @param spteDuring the mirror entry's value during the call, null where there is none
 * @param status what the backend returned, OK for ops that return none
 */
record OpCall(
    String op,
    long gfn,
    @Nullable PageLevel level,
    ImmutableSortedSet<LockClass> locks,
    @Nullable LockMode mode,
    @Nullable Long spteDuring,
    Errno status) {

  boolean is(String name) {
    return op.equals(name);
  }
}
