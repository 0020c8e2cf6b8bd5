package dev.septum.tdx.module;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.KernelThread;
import java.util.ArrayList;
import java.util.List;
import java.util.function.LongPredicate;

/** A TD of a test, and the short names of what a host does to it. */
final class TestTd {

  private final TdxModule module;
  private final TestHost host;
  final long tdr;
  final List<Long> vcpus = new ArrayList<>();

  TestTd(TdxModule module, TestHost host, long tdr) {
    this.module = module;
    this.host = host;
    this.tdr = tdr;
  }

  /** Adds an initialised vCPU that runs an empty script; returns its TDVPR. */
  long addVcpu() {
    long tdvpr = host.controlPage();
    host.mustCall(SeamcallLeaf.TDH_VP_CREATE, tdvpr, tdr);
    for (int i = 0; i < 5; i++) {
      host.mustCall(SeamcallLeaf.TDH_VP_ADDCX, host.controlPage(), tdvpr);
    }
    host.mustCall(SeamRegs.leaf(SeamcallLeaf.TDH_VP_INIT, 1).rcx(tdvpr).r8(vcpus.size()));
    vcpus.add(tdvpr);
    module.attachGuest(tdvpr, new ScriptedGuest());
    return tdvpr;
  }

  long vcpu() {
    return vcpus.get(0);
  }

  /** Adds the tables for {@code gpa} down to the one whose entries have this level. */
  void addTables(long gpa, int level) {
    for (int parent = top(); parent > level; parent--) {
      host.mustCall(
          SeamcallLeaf.TDH_MEM_SEPT_ADD,
          aligned(gpa, parent) | parent,
          tdr | 1,
          host.controlPage());
    }
  }

  /** Maps a fresh 2M page; the tables are added, too. Returns its HPA. */
  long augLarge(long gpa) {
    addTables(gpa, 1);
    long hpa = host.largePage();
    host.mustCall(SeamcallLeaf.TDH_MEM_PAGE_AUG, gpa | 1, tdr, hpa);
    return hpa;
  }

  /** Maps a fresh 4K page; the tables are added, too. Returns its HPA. */
  long augSmall(long gpa) {
    addTables(gpa, 0);
    long hpa = host.controlPage();
    host.mustCall(SeamcallLeaf.TDH_MEM_PAGE_AUG, gpa, tdr, hpa);
    return hpa;
  }

  long block(long gpa, int level) {
    return host.call(SeamcallLeaf.TDH_MEM_RANGE_BLOCK, gpa | level, tdr).rax;
  }

  long unblock(long gpa, int level) {
    return host.call(SeamcallLeaf.TDH_MEM_RANGE_UNBLOCK, gpa | level, tdr).rax;
  }

  long track() {
    return host.call(SeamcallLeaf.TDH_MEM_TRACK, tdr, 0).rax;
  }

  SeamRegs read(long gpa, int level) {
    return host.call(SeamcallLeaf.TDH_MEM_SEPT_RD, gpa | level, tdr);
  }

  SeamRegs remove(long gpa, int level) {
    return host.call(SeamcallLeaf.TDH_MEM_PAGE_REMOVE, gpa | level, tdr);
  }

  /** A DEMOTE of the 2M page at {@code gpa} with fresh pages. */
  SeamRegs demoteRegs(long gpa) {
    return SeamRegs.leaf(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)
        .rcx(gpa | 1)
        .rdx(tdr)
        .r8(host.controlPage())
        .r9(TestHost.NULL_PA)
        .r10(TestHost.NULL_PA)
        .r11(TestHost.NULL_PA)
        .r12(host.pamtPage())
        .r13(host.pamtPage());
  }

  SeamRegs demote(long gpa) {
    return host.call(demoteRegs(gpa));
  }

  SeamRegs promoteRegs(long gpa, int level, int version) {
    return SeamRegs.leaf(SeamcallLeaf.TDH_MEM_PAGE_PROMOTE, version).rcx(gpa | level).rdx(tdr);
  }

  SeamRegs promote(long gpa, int level, int version) {
    return host.call(promoteRegs(gpa, level, version));
  }

  /** Blocks and tracks a page with no vCPU inside. */
  void blockAndTrack(long gpa, int level) {
    host.mustCall(SeamcallLeaf.TDH_MEM_RANGE_BLOCK, gpa | level, tdr);
    host.mustCall(SeamcallLeaf.TDH_MEM_TRACK, tdr, 0);
  }

  /** Runs these instructions on the first vCPU until an exit, or their end (an interrupt). */
  ScriptedGuest run(GuestInstruction... script) {
    ScriptedGuest guest = new ScriptedGuest(script);
    module.attachGuest(vcpu(), guest);
    enter(guest);
    return guest;
  }

  /** Enters the first vCPU, whose guest is {@code guest}. */
  SeamRegs enter(ScriptedGuest guest) {
    SeamRegs regs = SeamRegs.leaf(SeamcallLeaf.TDH_VP_ENTER).rcx(vcpu());
    guest.exit = regs;
    return host.call(regs, guest);
  }

  /** A vCPU that is inside the TD, on a thread of its own, until {@code processor} says so. */
  KernelThread enterAndStay(Kernel kernel, StickyProcessor processor) {
    module.attachGuest(vcpu(), processor);
    KernelThread thread =
        kernel.spawn(
            "vcpu",
            () -> module.seamcall(SeamRegs.leaf(SeamcallLeaf.TDH_VP_ENTER).rcx(vcpu()), processor));
    processor.awaitInside(kernel);
    return thread;
  }

  /** Takes everything down to the last RECLAIM; all pages in use are this TD's. */
  void tearDown() {
    tearDown(page -> true);
  }

  /** Takes everything down to the last RECLAIM of the pages that are this TD's. */
  void tearDown(LongPredicate isOurs) {
    for (long vcpu : vcpus) {
      host.mustCall(SeamcallLeaf.TDH_VP_FLUSH, vcpu, 0);
    }
    host.mustCall(SeamcallLeaf.TDH_MNG_VPFLUSHDONE, tdr, 0);
    host.mustCall(SeamcallLeaf.TDH_PHYMEM_CACHE_WB, 0, 0);
    host.mustCall(SeamcallLeaf.TDH_MNG_KEY_FREEID, tdr, 0);
    module
        .view()
        .assignedPages()
        .forEach(
            (hpa, type) -> {
              if (isOurs.test(hpa)) {
                reclaim(hpa, type);
              }
            });
    host.mustCall(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM, tdr, 0);
  }

  private void reclaim(long hpa, PageType type) {
    if (type != PageType.TDR) {
      host.mustCall(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM, hpa, 0);
    }
  }

  private int top() {
    return module.state().td(tdr).sept().topLevel();
  }

  private static long aligned(long gpa, int level) {
    return gpa & -(TestHost.PAGE << (9 * level));
  }
}
