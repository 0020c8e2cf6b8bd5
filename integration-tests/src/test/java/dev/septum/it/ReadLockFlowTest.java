package dev.septum.it;

import static dev.septum.it.TdScenario.GFN;
import static dev.septum.it.TdScenario.GIB;
import static dev.septum.it.TdScenario.MIB;
import static dev.septum.it.TdScenario.count;
import static dev.septum.it.TdScenario.leafs2M;
import static dev.septum.it.TdScenario.leafs4K;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.VcpuTdx;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.AcceptMemory.Order;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A guest with several vCPUs accepts parts of leafs on a module that splits a leaf as it is: the
 * seed's protocol under the read mmu_lock, need, topup, need again, count again.
 */
final class ReadLockFlowTest {

  /** Topping up four pages takes the cache's lock as often; the next one is the split's. */
  private static final int TOPUP_LOCKS = 4;

  @RegisterExtension
  final TdScenario host =
      TdScenario.of(
          TdxModuleConfig.defaults().withNonBlockingResize(true), Placement.SEQUENTIAL, GIB);

  private static AcceptMemory accept4K(long gfn) {
    return new AcceptMemory(gfn << 12, (gfn + 1) << 12, Order.ACCEPT_FIRST);
  }

  /** A TD with that many pending 2M leafs from {@link TdScenario#GFN} on. */
  private Vmm bootWithPendingLeafs(int vcpus, int leafs) {
    Vmm vmm =
        host.boot(
            TdScenario.withVirtualizationExceptions(
                TdScenario.layout(vcpus, new TdLayout.Region(0, 16 * MIB))));
    vmm.vcpus().forEach(vcpu -> vmm.runToHalt(vcpu, GuestProgram.of()));
    for (int i = 0; i < leafs; i++) {
      vmm.runToHalt(vmm.vcpus().get(0), GuestProgram.of(new TouchOnce(GFN + 512L * i)));
    }
    assertThat(leafs2M(vmm)).hasSize(leafs);
    return vmm;
  }

  private static void accept(Vmm vmm, int vcpu, long gfn) {
    vmm.runToHalt(vmm.vcpus().get(vcpu), GuestProgram.of(accept4K(gfn)));
  }

  /** The second vCPU does all of its accept before the first one takes the nth lock of a class. */
  private void secondAcceptsBefore(LockClass lockClass, int nth, Vmm vmm, long gfn) {
    host.kernel()
        .before(
            lockClass,
            () -> {
              if (nth > 1) {
                secondAcceptsBefore(lockClass, nth - 1, vmm, gfn);
              } else {
                host.kernel().spawn("vCPU 1", () -> accept(vmm, 1, gfn)).join();
              }
            });
  }

  private long accepted(Vmm vmm) {
    return host.tdx().module().view().leafs(vmm.kvm().tdr() << 12).stream()
        .filter(leaf -> leaf.gpa() < 16 * MIB && leaf.state() == SeptState.MAPPED)
        .count();
  }

  private void assertSplitUnderTheReadLock(Vmm vmm, long writes, int splits) {
    assertThat(host.kernel().rwLocksTaken(LockMode.EXCLUSIVE)).isEqualTo(writes);
    assertThat(vmm.kvm().mmu().splits().get(SplitCause.GUEST_ACCEPT)).isEqualTo(splits);
    assertThat(host.calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isEqualTo(splits);
    assertThat(host.calls(SeamcallLeaf.TDH_MEM_RANGE_BLOCK)).isZero();
    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isEqualTo(splits);
    assertThat(vmm.kvm().counters().get(TdxCounter.KICKS)).isZero();
    assertThat(vmm.kvm().counters().get(TdxCounter.SPLITS_UNDONE)).isZero();
  }

  /** The first one counted four, before the second one took two of them. */
  @Test
  void twoLeafsAtOnce_theSecondDrainsTheCacheFirst_theFirstCountsAgainAndTopsUp() {
    Vmm vmm = bootWithPendingLeafs(2, 2);
    long writes = host.kernel().rwLocksTaken(LockMode.EXCLUSIVE);
    secondAcceptsBefore(LockClass.PREALLOC_SPLIT_CACHE_LOCK, TOPUP_LOCKS + 1, vmm, GFN + 512 + 9);

    accept(vmm, 0, GFN + 7);

    assertSplitUnderTheReadLock(vmm, writes, 2);
    assertThat(accepted(vmm)).isEqualTo(2);
    assertThat(leafs4K(vmm, GFN, GFN + 1024)).isEqualTo(1024);
    assertThat(vmm.kvm().counters().get(TdxCounter.SPLIT_CACHE_TOO_FEW)).isEqualTo(1);
    assertThat(count(vmm, MmuCounter.SPLIT_RETRIES)).isEqualTo(1);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(2);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(2);
    assertThat(vmm.kvm().counters().get(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(4 + 2);
    assertThat(vmm.kvm().counters().get(TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(2 + 2);
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(2);
  }

  /** The first one has its pages and is about to DEMOTE; the second one finds two. */
  @Test
  void twoLeafsAtOnce_theFirstDrainsTheCacheFirst_theSecondTopsUpAtOnce() {
    Vmm vmm = bootWithPendingLeafs(2, 2);
    long writes = host.kernel().rwLocksTaken(LockMode.EXCLUSIVE);
    secondAcceptsBefore(LockClass.PAMT_LOCK, 1, vmm, GFN + 512 + 9);

    accept(vmm, 0, GFN + 7);

    assertSplitUnderTheReadLock(vmm, writes, 2);
    assertThat(accepted(vmm)).isEqualTo(2);
    assertThat(vmm.kvm().counters().get(TdxCounter.SPLIT_CACHE_TOO_FEW)).isZero();
    assertThat(count(vmm, MmuCounter.SPLIT_RETRIES)).isZero();
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(2);
    assertThat(vmm.kvm().counters().get(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(4 + 2);
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(2);
  }

  /** Between its topup and the lock the first one loses the pages: the seed's first re-check. */
  @Test
  void twoLeafsAtOnce_theCacheIsDrainedBeforeTheLockIsTakenAgain_needIsAskedAgain() {
    Vmm vmm = bootWithPendingLeafs(2, 2);
    long writes = host.kernel().rwLocksTaken(LockMode.EXCLUSIVE);
    // The accept's own lock, the one after the table's allocation, the one after the topup.
    secondAcceptsBefore(LockClass.MMU_LOCK, 3, vmm, GFN + 512 + 9);

    accept(vmm, 0, GFN + 7);

    assertSplitUnderTheReadLock(vmm, writes, 2);
    assertThat(vmm.kvm().counters().get(TdxCounter.SPLIT_CACHE_TOO_FEW)).isZero();
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(2);
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(2);
  }

  @Test
  void oneLeafAtOnce_theLoserGivesEverythingBack() {
    Vmm vmm = bootWithPendingLeafs(2, 1);
    long writes = host.kernel().rwLocksTaken(LockMode.EXCLUSIVE);
    Map<PageOwner, Long> before = host.pages().census();
    long tables = new MmuView(vmm.kvm().mmu()).tables();
    secondAcceptsBefore(LockClass.MMU_LOCK, 3, vmm, GFN + 9);

    accept(vmm, 0, GFN + 7);

    assertSplitUnderTheReadLock(vmm, writes, 1);
    assertThat(accepted(vmm)).isEqualTo(2);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(2);
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(2);
    // One table with its S-EPT page, and one pair; of four pages in the cache two are left.
    assertThat(grown(before, PageOwner.SEPT_PAGE)).isEqualTo(1);
    assertThat(grown(before, PageOwner.PAMT_PAGE)).isEqualTo(2);
    assertThat(grown(before, PageOwner.PAMT_CACHE)).isEqualTo(2);
    MmuView mmu = new MmuView(vmm.kvm().mmu());
    assertThat(mmu.tables()).isEqualTo(tables + 1);
    // What is neither linked nor in a vCPU's caches would be the spare that was not needed.
    assertThat(host.pages().census())
        .containsEntry(PageOwner.MMU_PAGE_TABLE, mmu.tables() + mmu.cachedTables())
        .containsEntry(
            PageOwner.EXTERNAL_PAGE_TABLE,
            vmm.vcpus().stream().mapToLong(VcpuTdx::cachedSeptPages).sum());
  }

  private long grown(Map<PageOwner, Long> before, PageOwner owner) {
    return host.pages().census().getOrDefault(owner, 0L) - before.getOrDefault(owner, 0L);
  }

  /** All that were ever waiting or losing get there, whoever is first. */
  @ParameterizedTest
  @ValueSource(ints = {2, 4})
  void manyVcpusOnTheSameLeafs_acceptEveryPageOnce(int vcpus) {
    Vmm vmm = bootWithPendingLeafs(vcpus, 7);
    long writes = host.kernel().rwLocksTaken(LockMode.EXCLUSIVE);
    List<KernelThread> threads = new ArrayList<>();
    for (int i = 0; i < vcpus; i++) {
      int id = i;
      threads.add(
          host.kernel()
              .spawn(
                  "vCPU " + id,
                  () -> {
                    for (int leaf = 0; leaf < 7; leaf++) {
                      accept(vmm, id, GFN + 512L * ((leaf + id) % 7) + id);
                    }
                  }));
    }
    threads.forEach(KernelThread::join);

    assertSplitUnderTheReadLock(vmm, writes, 7);
    assertThat(accepted(vmm)).isEqualTo(7L * vcpus);
    assertThat(leafs2M(vmm)).isEmpty();
  }

  /** A conversion takes the lock for write and zaps what another vCPU's accepts just split. */
  @Test
  void acceptsUnderTheReadLock_whileUserSpaceConverts_loseNothing() {
    Vmm vmm = bootWithPendingLeafs(2, 6);
    KernelThread converter =
        host.kernel()
            .spawn(
                "VMM",
                () -> {
                  for (int i = 0; i < 6; i++) {
                    long gfn = GFN + 512L * i + 256;
                    assertThat(TdScenario.share(vmm, gfn, gfn + 16)).isEqualTo(Errno.OK);
                  }
                });
    for (int i = 0; i < 6; i++) {
      vmm.runToHalt(
          vmm.vcpus().get(1),
          GuestProgram.of(
              new AcceptMemory(
                  (GFN + 512L * i) << 12, (GFN + 512L * i + 128) << 12, Order.ACCEPT_FIRST)));
    }
    converter.join();

    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isEqualTo(6);
    assertThat(accepted(vmm)).isEqualTo(6 * 128);
    assertThat(leafs4K(vmm, GFN, GFN + 6 * 512)).isEqualTo(6 * (512 - 16));
  }
}
