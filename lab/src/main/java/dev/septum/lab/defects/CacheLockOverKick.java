package dev.septum.lab.defects;

import static dev.septum.lab.defects.Bench.GFN;
import static java.util.Comparator.comparingInt;

import com.google.common.collect.ImmutableSortedSet;
import dev.septum.kernel.LockClass;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxStatus;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/** D6: the retry of DEMOTE kicks vCPUs and waits for them with a spin lock held. */
final class CacheLockOverKick implements Demonstration {

  @Override
  public void run(Laboratory lab) {
    Bench bench = lab.packed();
    bench.acceptLeaf();
    bench.refuse(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, TdxStatus.TDX_OPERAND_BUSY);
    List<ImmutableSortedSet<LockClass>> held = new ArrayList<>();
    bench.kernel().atKick(() -> held.add(bench.kernel().locks().held()));
    bench.share(GFN + 0x10, GFN + 0x11);
    ImmutableSortedSet<LockClass> most = Collections.max(held, comparingInt(Set::size));
    lab.protocol()
        .observed(
            "while it waits for vCPUs to leave the guest, the thread holds %s",
            most.stream().map(LockClass::kernelName).collect(Collectors.joining(", ")));
    lab.protocol()
        .partedIf(
            most.contains(LockClass.PREALLOC_SPLIT_CACHE_LOCK),
            "a topup in another thread spins for as long as vCPUs take to leave the guest");
  }
}
