package dev.septum.tdx.module;

import static com.google.common.base.Preconditions.checkState;

import java.util.ArrayList;
import java.util.List;

/**
 * The host of a test: owns physical memory and makes SEAMCALLs. Control pages come from 2 MiB up,
 * PAMT pages from 64 MiB up, large pages from 512 MiB up.
 */
final class TestHost {

  static final long MIB_2 = 2L << 20;
  static final long PAGE = 4096;
  static final long NULL_PA = -1;

  private final TdxModule module;
  private final SeamcallAudit audit;
  private boolean audited;
  final List<Long> controlPages = new ArrayList<>();
  private long nextControlPage = MIB_2;
  private long nextPamtPage = 64L << 20;
  private long nextLargePage = 512L << 20;
  private int nextHkid = 1;

  TestHost(TdxModule module) {
    this.module = module;
    audit = new SeamcallAudit(module);
  }

  /** Every call from now on is looked at from all sides; for tests of one thread. */
  TestHost audited() {
    audited = true;
    return this;
  }

  /** Other threads call, too, from now on. */
  void shareModule() {
    audited = false;
  }

  /** What is wrong with the module, and what was wrong with the calls that were audited. */
  List<String> violations() {
    return audit.violations();
  }

  /** Makes the call and returns its registers. */
  SeamRegs call(SeamRegs regs) {
    return call(regs, LogicalProcessor.NONE);
  }

  SeamRegs call(SeamRegs regs, LogicalProcessor processor) {
    if (audited) {
      audit.seamcall(regs, processor);
    } else {
      module.seamcall(regs, processor);
    }
    return regs;
  }

  SeamRegs call(SeamcallLeaf leaf, long rcx, long rdx) {
    return call(SeamRegs.leaf(leaf).rcx(rcx).rdx(rdx));
  }

  SeamRegs call(SeamcallLeaf leaf, long rcx, long rdx, long r8) {
    return call(SeamRegs.leaf(leaf).rcx(rcx).rdx(rdx).r8(r8));
  }

  /** Makes a call that must succeed. */
  SeamRegs mustCall(SeamRegs regs) {
    SeamcallLeaf leaf = SeamcallLeaf.of((int) regs.rax & 0xFFFF).orElseThrow();
    call(regs);
    checkState(regs.rax == 0, "%s: %s", leaf, TdxStatus.describe(regs.rax));
    return regs;
  }

  SeamRegs mustCall(SeamcallLeaf leaf, long rcx, long rdx) {
    return mustCall(SeamRegs.leaf(leaf).rcx(rcx).rdx(rdx));
  }

  SeamRegs mustCall(SeamcallLeaf leaf, long rcx, long rdx, long r8) {
    return mustCall(SeamRegs.leaf(leaf).rcx(rcx).rdx(rdx).r8(r8));
  }

  /** A free 4K page whose region has a page pair, where the module wants one. */
  long controlPage() {
    long page = nextControlPage;
    nextControlPage += PAGE;
    if (page % MIB_2 == 0 && module.config().dynamicPamt()) {
      addPair(page);
    }
    controlPages.add(page);
    return page;
  }

  /** Gives a region a page pair. */
  void addPair(long region) {
    mustCall(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, region | 1, pamtPage(), pamtPage());
  }

  /** A free page that no page pair covers. */
  long pamtPage() {
    long page = nextPamtPage;
    nextPamtPage += PAGE;
    return page;
  }

  /** A free 2M page. */
  long largePage() {
    long page = nextLargePage;
    nextLargePage += MIB_2;
    return page;
  }

  /** A TD up to MNG.INIT. */
  TestTd createTd() {
    return createTd(TdParams.defaults());
  }

  TestTd createTd(TdParams params) {
    long tdr = controlPage();
    mustCall(SeamcallLeaf.TDH_MNG_CREATE, tdr, nextHkid++);
    mustCall(SeamcallLeaf.TDH_MNG_KEY_CONFIG, tdr, 0);
    for (int i = 0; i < 6; i++) {
      mustCall(SeamcallLeaf.TDH_MNG_ADDCX, controlPage(), tdr);
    }
    module.writeTdParams(0x1000, params);
    mustCall(SeamcallLeaf.TDH_MNG_INIT, tdr, 0x1000);
    return new TestTd(module, this, tdr);
  }

  /** A TD that runs, with one vCPU. */
  TestTd runnableTd() {
    return runnableTd(TdParams.defaults());
  }

  TestTd runnableTd(TdParams params) {
    TestTd td = createTd(params);
    td.addVcpu();
    mustCall(SeamcallLeaf.TDH_MR_FINALIZE, td.tdr, 0);
    return td;
  }
}
