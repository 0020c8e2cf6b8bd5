package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockMode;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A module from its loading to READY and to its shutdown, by SEAMCALLs alone. */
final class BringUpTest {

  private static final long GIB = 1L << 30;
  private static final long LIST = 0x20_0000;
  private static final long INFO = 0x10_0000;

  /** PAMT regions for two GiB of TDMR: from 128 MiB up, in a reserved area. */
  private static final List<PhysicalRange> PAMTS =
      List.of(
          new PhysicalRange(128L << 20, 4096),
          new PhysicalRange(129L << 20, 16384),
          new PhysicalRange(130L << 20, 8L << 20));

  private static final PhysicalRange HOLE = new PhysicalRange(128L << 20, 16L << 20);

  private final Kernel kernel = Kernel.host();
  private final TdxModule module =
      TdxModule.loaded(
          kernel,
          TdxModuleConfig.defaults(),
          new Platform(2, 2, List.of(new PhysicalRange(0, 4 * GIB))));
  private final SeamcallAudit audit = new SeamcallAudit(module);

  @Test
  void wholeBringUp_makesTheModuleReady() {
    assertStatus(call(SeamcallLeaf.TDH_SYS_INIT, 0), 0);
    assertStatus(call(SeamcallLeaf.TDH_SYS_LP_INIT, 0), 0);
    assertStatus(call(SeamcallLeaf.TDH_SYS_LP_INIT, 1), 0);
    assertStatus(configure(1L << 16 | 5, info(0, GIB, HOLE)), 0);
    assertStatus(call(SeamcallLeaf.TDH_SYS_KEY_CONFIG, 0), 0);
    assertStatus(call(SeamRegs.leaf(SeamcallLeaf.TDH_MNG_CREATE), 0), TdxStatus.TDX_SYS_NOT_READY);
    assertStatus(call(SeamcallLeaf.TDH_SYS_KEY_CONFIG, 1), 0);
    assertStatus(
        call(SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_RDMD), 0),
        TdxStatus.TDX_OPERAND_ADDR_RANGE_ERROR | OperandId.RCX);
    assertThat(initialize(0)).containsOnly(0L, GIB).hasSize(64).endsWith(GIB);
    assertStatus(
        call(SeamRegs.leaf(SeamcallLeaf.TDH_SYS_TDMR_INIT), 0),
        TdxStatus.TDX_TDMR_ALREADY_INITIALIZED);
    TestHost host = new TestHost(module);
    assertThat(host.runnableTd().augLarge(GIB)).isNotZero();
    assertStatus(
        host.call(SeamcallLeaf.TDH_MNG_CREATE, host.controlPage(), 5).rax,
        TdxStatus.TDX_HKID_NOT_FREE);
    assertThat(audit.violations()).isEmpty();
  }

  @Test
  void steps_outOfOrder_areRefused() {
    assertThat(audit.violations()).isEmpty();
    assertStatus(call(SeamcallLeaf.TDH_SYS_LP_INIT, 0), TdxStatus.TDX_SYS_LP_INIT_NOT_PENDING);
    assertStatus(
        call(SeamcallLeaf.TDH_SYS_KEY_CONFIG, 0), TdxStatus.TDX_SYS_KEY_CONFIG_NOT_PENDING);
    assertStatus(configure(1, info(0, GIB)), TdxStatus.TDX_SYS_CONFIG_NOT_PENDING);
    assertStatus(
        call(SeamRegs.leaf(SeamcallLeaf.TDH_SYS_INIT, 2), 0),
        TdxStatus.TDX_OPERAND_INVALID | OperandId.RAX);
    assertStatus(call(SeamRegs.leaf(SeamcallLeaf.TDH_SYS_INIT, 1), 0), 0);
    assertStatus(call(SeamcallLeaf.TDH_SYS_INIT, 0), TdxStatus.TDX_SYS_INIT_NOT_PENDING);
    assertStatus(call(SeamcallLeaf.TDH_SYS_LP_INIT, 0), 0);
    assertStatus(call(SeamcallLeaf.TDH_SYS_LP_INIT, 0), TdxStatus.TDX_SYS_LP_INIT_DONE);
    assertStatus(configure(1, info(0, GIB)), TdxStatus.TDX_SYS_LP_INIT_NOT_DONE);
    assertStatus(call(SeamcallLeaf.TDH_SYS_LP_INIT, 1), 0);
    assertStatus(configure(1, info(0, GIB, HOLE)), 0);
    assertStatus(configure(1, info(0, GIB, HOLE)), TdxStatus.TDX_SYS_CONFIG_NOT_PENDING);
    assertStatus(call(SeamcallLeaf.TDH_SYS_LP_INIT, 0), TdxStatus.TDX_SYS_LP_INIT_NOT_PENDING);
    assertStatus(call(SeamcallLeaf.TDH_SYS_KEY_CONFIG, 1), 0);
    assertStatus(call(SeamcallLeaf.TDH_SYS_KEY_CONFIG, 1), TdxStatus.TDX_KEY_CONFIGURED);
    assertStatus(call(SeamcallLeaf.TDH_SYS_KEY_CONFIG, 0), 0);
    assertStatus(
        call(SeamcallLeaf.TDH_SYS_KEY_CONFIG, 0), TdxStatus.TDX_SYS_KEY_CONFIG_NOT_PENDING);
    assertThat(audit.violations()).isEmpty();
  }

  @Test
  void whileAnotherStepIsUnderWay_theModuleIsBusy() {
    SharexLock lock = module.state().bringUp().lock();
    lock.tryLock(LockMode.SHARED);
    assertStatus(call(SeamcallLeaf.TDH_SYS_INIT, 0), TdxStatus.TDX_SYS_BUSY);
    assertStatus(call(SeamcallLeaf.TDH_SYS_LP_SHUTDOWN, 0), TdxStatus.TDX_SYS_BUSY);
    assertStatus(call(SeamcallLeaf.TDH_SYS_LP_INIT, 0), TdxStatus.TDX_SYS_LP_INIT_NOT_PENDING);
    lock.unlock(LockMode.SHARED);
    assertStatus(call(SeamcallLeaf.TDH_SYS_INIT, 0), 0);
  }

  @Test
  void shutdown_endsEverything() {
    assertStatus(call(SeamcallLeaf.TDH_SYS_LP_SHUTDOWN, 0), 0);
    assertStatus(call(SeamcallLeaf.TDH_SYS_INIT, 0), TdxStatus.TDX_SYS_SHUTDOWN);
    assertStatus(call(SeamcallLeaf.TDH_MEM_TRACK, 0), TdxStatus.TDX_SYS_SHUTDOWN);
    assertStatus(call(SeamcallLeaf.TDH_SYS_LP_SHUTDOWN, 1), 0);
  }

  @Test
  void config_checksItsOperandsInOrder() {
    readyToConfigure();
    module.writeTdmrInfo(INFO, info(0, GIB, HOLE));
    module.writeTdmrList(LIST, List.of(INFO));
    long rcxInvalid = TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX;
    assertStatus(config(LIST + 256, 0, 0), rcxInvalid);
    assertStatus(config(1L << 50, 0, 0), rcxInvalid);
    assertStatus(config(LIST, 0, 0), TdxStatus.TDX_OPERAND_INVALID | OperandId.RDX);
    assertStatus(config(LIST, 65, 0), TdxStatus.TDX_OPERAND_INVALID | OperandId.RDX);
    long r8Invalid = TdxStatus.TDX_OPERAND_INVALID | OperandId.R8;
    assertStatus(config(LIST, 1, 0), r8Invalid);
    assertStatus(config(LIST, 1, 128), r8Invalid);
    assertStatus(config(LIST, 1, 1L << 17 | 1), r8Invalid);
    assertStatus(config(LIST, 2, 1), rcxInvalid);
    assertStatus(config(LIST + 512, 1, 1), rcxInvalid);
    module.writeTdmrList(LIST, List.of(INFO, 0L));
    assertStatus(config(LIST, 2, 1), TdxStatus.TDX_INVALID_TDMR | 1);
    assertStatus(config(LIST, 1, 1), 0);
    assertThat(audit.violations()).isEmpty();
  }

  @Test
  void config_withDynamicPamt_needsRoomBesideTheAddress() {
    TdxModuleConfig wide = TdxModuleConfig.defaults().withHkidShift(49);
    TdxModule other = TdxModule.loaded(kernel, wide, Platform.of(1, 4 * GIB));
    assertThatThrownBy(() -> new TdxModule(kernel, wide, GIB))
        .hasMessage("Dynamic PAMT with the HKID field at bit 49");
    for (SeamcallLeaf leaf : List.of(SeamcallLeaf.TDH_SYS_INIT, SeamcallLeaf.TDH_SYS_LP_INIT)) {
      other.seamcall(SeamRegs.leaf(leaf));
    }
    other.writeTdmrInfo(INFO, info(0, GIB, HOLE));
    other.writeTdmrList(LIST, List.of(INFO));
    SeamRegs config = SeamRegs.leaf(SeamcallLeaf.TDH_SYS_CONFIG).rcx(LIST).rdx(1).r8(1L << 16 | 1);
    other.seamcall(config);
    assertStatus(config.rax, TdxStatus.TDX_OPERAND_INVALID | OperandId.R8);
  }

  @Test
  void config_refusesWrongTdmrs() {
    readyToConfigure();
    TdmrInfo right = info(0, GIB, HOLE);
    assertStatus(configure(1, info(4096, GIB)), TdxStatus.TDX_INVALID_TDMR);
    assertStatus(configure(1, info(0, 0)), TdxStatus.TDX_INVALID_TDMR);
    assertStatus(configure(1, info(1L << 45, GIB)), TdxStatus.TDX_INVALID_TDMR);
    assertStatus(configure(1, right, right), TdxStatus.TDX_NON_ORDERED_TDMR | 1);
    assertStatus(configure(1, info(4 * GIB, GIB)), TdxStatus.TDX_TDMR_OUTSIDE_CMRS);
    PhysicalRange all = new PhysicalRange(0, GIB);
    assertStatus(
        configure(1, right, info(4 * GIB, GIB, all)), TdxStatus.TDX_PAMT_OVERLAP | 1 | 2 << 8);
  }

  @Test
  void config_refusesWrongReservedAreas() {
    readyToConfigure();
    PhysicalRange end = new PhysicalRange(GIB - 4096, 8192);
    PhysicalRange odd = new PhysicalRange(100, 4096);
    PhysicalRange early = new PhysicalRange(0, 4096);
    PhysicalRange none = new PhysicalRange(0, 0);
    for (PhysicalRange wrong : List.of(end, odd, none)) {
      assertStatus(
          configure(1, info(0, GIB, HOLE, wrong)), TdxStatus.TDX_INVALID_RESERVED_IN_TDMR | 1 << 8);
    }
    assertStatus(
        configure(1, info(0, GIB, HOLE, early)),
        TdxStatus.TDX_NON_ORDERED_RESERVED_IN_TDMR | 1 << 8);
  }

  @Test
  void config_refusesWrongPamts() {
    readyToConfigure();
    assertPamt(0, new PhysicalRange(128L << 20, 0), TdxStatus.TDX_INVALID_PAMT | 2 << 8);
    assertPamt(1, new PhysicalRange(129L << 20, 4096), TdxStatus.TDX_INVALID_PAMT | 1 << 8);
    assertPamt(2, new PhysicalRange(130L << 20, 32768), TdxStatus.TDX_INVALID_PAMT);
    assertPamt(1, new PhysicalRange((129L << 20) + 8, 8192), TdxStatus.TDX_INVALID_PAMT | 1 << 8);
    assertPamt(0, new PhysicalRange(1L << 46, 4096), TdxStatus.TDX_INVALID_PAMT | 2 << 8);
    assertPamt(0, new PhysicalRange(4 * GIB, 4096), TdxStatus.TDX_PAMT_OUTSIDE_CMRS | 2 << 8);
    assertPamt(0, new PhysicalRange(0, 4096), TdxStatus.TDX_PAMT_OVERLAP | 2 << 8);
    assertPamt(1, new PhysicalRange(128L << 20, 8192), TdxStatus.TDX_PAMT_OVERLAP | 1 << 8);
    TdmrInfo second =
        new TdmrInfo(new PhysicalRange(GIB, GIB), PAMTS, List.of(new PhysicalRange(0, GIB)));
    assertStatus(configure(1, info(0, GIB, HOLE), second), TdxStatus.TDX_PAMT_OVERLAP | 1 | 2 << 8);
  }

  @Test
  void config_withDynamicPamt_needsABitmapOnly() {
    readyToConfigure();
    List<PhysicalRange> small =
        List.of(PAMTS.get(0), PAMTS.get(1), new PhysicalRange(130L << 20, 32768));
    assertStatus(
        configure(1L << 16 | 1, new TdmrInfo(new PhysicalRange(0, GIB), small, List.of(HOLE))), 0);
  }

  @ParameterizedTest
  @ValueSource(longs = {0, 1L << 16})
  void tdmrInit_coversWholeGibsOnly_andReservedPagesAreNobodys(long dynamic) {
    readyToConfigure();
    assertStatus(configure(dynamic | 1, info(GIB, 2 * GIB, HOLE)), 0);
    call(SeamcallLeaf.TDH_SYS_KEY_CONFIG, 0);
    call(SeamcallLeaf.TDH_SYS_KEY_CONFIG, 1);
    int calls = dynamic == 0 ? 256 : 64;
    assertStatus(
        call(SeamRegs.leaf(SeamcallLeaf.TDH_SYS_TDMR_INIT).rcx(4096), 0),
        TdxStatus.TDX_OPERAND_INVALID | OperandId.RCX);
    for (int i = 1; i < calls; i++) {
      SeamRegs regs = SeamRegs.leaf(SeamcallLeaf.TDH_SYS_TDMR_INIT).rcx(GIB);
      assertStatus(call(regs, 0), 0);
      assertThat(regs.rdx).isEqualTo(GIB);
    }
    assertThat(rdmd(GIB).rax).isEqualTo(TdxStatus.TDX_OPERAND_ADDR_RANGE_ERROR | OperandId.RCX);
    SeamRegs last = SeamRegs.leaf(SeamcallLeaf.TDH_SYS_TDMR_INIT).rcx(GIB);
    assertStatus(call(last, 0), 0);
    assertThat(last.rdx).isEqualTo(2 * GIB);
    assertStatus(rdmd(GIB).rax, 0);
    assertStatus(rdmd(2 * GIB).rax, TdxStatus.TDX_OPERAND_ADDR_RANGE_ERROR | OperandId.RCX);
    assertStatus(rdmd(0).rax, TdxStatus.TDX_OPERAND_ADDR_RANGE_ERROR | OperandId.RCX);
    SeamRegs reserved = rdmd(GIB + HOLE.base());
    assertThat(reserved.rcx).isEqualTo(dynamic == 0 ? PageType.RSVD.code() : PageType.PAMT.code());
    assertThat(module.view().assignedPages()).isEmpty();
    SeamRegs create = SeamRegs.leaf(SeamcallLeaf.TDH_MNG_CREATE).rcx(GIB + HOLE.base()).rdx(2);
    assertThat(TdxStatus.code(call(create, 0)))
        .isEqualTo(
            dynamic == 0
                ? TdxStatus.TDX_PAGE_METADATA_INCORRECT
                : TdxStatus.TDX_MISSING_PAMT_PAGE_PAIR);
    assertThat(audit.violations()).isEmpty();
  }

  @Test
  void tdmrInit_ofTdmrUnderWay_isBusy() {
    readyToConfigure();
    configure(1, info(0, GIB, HOLE));
    call(SeamcallLeaf.TDH_SYS_KEY_CONFIG, 0);
    call(SeamcallLeaf.TDH_SYS_KEY_CONFIG, 1);
    SharexLock lock = module.state().pamt().tdmrs().get(0).lock();
    lock.tryLock(LockMode.EXCLUSIVE);
    assertStatus(
        call(SeamcallLeaf.TDH_SYS_TDMR_INIT, 0), TdxStatus.TDX_OPERAND_BUSY | OperandId.TDMR);
    lock.unlock(LockMode.EXCLUSIVE);
  }

  @Test
  void sysRd_walksThroughAllFields() {
    List<Long> ids = new ArrayList<>();
    SeamRegs regs = sysRd(SysFields.NONE);
    while (regs.rdx != SysFields.NONE) {
      ids.add(regs.rdx);
      regs = sysRd(regs.rdx);
      assertStatus(regs.rax, 0);
    }
    assertThat(ids)
        .containsExactly(
            SysFields.MINOR_VERSION,
            SysFields.MAJOR_VERSION,
            SysFields.UPDATE_VERSION,
            SysFields.TDX_FEATURES0,
            SysFields.NUM_CMRS,
            SysFields.CMR_BASE0,
            SysFields.CMR_SIZE0,
            SysFields.MAX_TDMRS,
            SysFields.MAX_RESERVED_PER_TDMR,
            SysFields.PAMT_4K_ENTRY_SIZE,
            SysFields.PAMT_2M_ENTRY_SIZE,
            SysFields.PAMT_1G_ENTRY_SIZE,
            SysFields.PAMT_PAGE_BITMAP_ENTRY_BITS);
    assertThat(sysRd(SysFields.UPDATE_VERSION).r8).isEqualTo(28);
    assertThat(sysRd(SysFields.TDX_FEATURES0).r8).isEqualTo(0x0008_0010_0005_0410L);
    assertThat(sysRd(SysFields.CMR_SIZE0).r8).isEqualTo(4 * GIB);
    assertThat(sysRd(SysFields.MAX_RESERVED_PER_TDMR).r8).isEqualTo(16);
    SeamRegs unknown = sysRd(7);
    assertStatus(unknown.rax, TdxStatus.TDX_METADATA_FIELD_ID_INCORRECT | OperandId.RDX);
    assertThat(unknown.rdx).isEqualTo(-1);
  }

  private void assertPamt(int part, PhysicalRange pamt, long status) {
    List<PhysicalRange> pamts = new ArrayList<>(PAMTS);
    pamts.set(part, pamt);
    assertStatus(
        configure(1, new TdmrInfo(new PhysicalRange(0, GIB), pamts, List.of(HOLE))), status);
  }

  private void readyToConfigure() {
    call(SeamcallLeaf.TDH_SYS_INIT, 0);
    call(SeamcallLeaf.TDH_SYS_LP_INIT, 0);
    call(SeamcallLeaf.TDH_SYS_LP_INIT, 1);
  }

  private List<Long> initialize(long base) {
    List<Long> next = new ArrayList<>();
    IntStream.range(0, 64)
        .forEach(
            i -> {
              SeamRegs regs = SeamRegs.leaf(SeamcallLeaf.TDH_SYS_TDMR_INIT).rcx(base);
              assertStatus(call(regs, 0), 0);
              next.add(regs.rdx);
            });
    return next;
  }

  private SeamRegs rdmd(long hpa) {
    SeamRegs regs = SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_RDMD).rcx(hpa);
    call(regs, 0);
    return regs;
  }

  private SeamRegs sysRd(long field) {
    SeamRegs regs = SeamRegs.leaf(SeamcallLeaf.TDH_SYS_RD).rdx(field);
    call(regs, 0);
    return regs;
  }

  private long configure(long r8, TdmrInfo... infos) {
    List<Long> addresses = new ArrayList<>();
    for (TdmrInfo info : infos) {
      addresses.add(INFO + 512L * addresses.size());
      module.writeTdmrInfo(addresses.get(addresses.size() - 1), info);
    }
    module.writeTdmrList(LIST, addresses);
    return config(LIST, infos.length, r8);
  }

  private long config(long rcx, long rdx, long r8) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_SYS_CONFIG).rcx(rcx).rdx(rdx).r8(r8), 0);
  }

  private long call(SeamcallLeaf leaf, int processor) {
    return call(SeamRegs.leaf(leaf), processor);
  }

  private long call(SeamRegs regs, int processor) {
    audit.seamcall(regs, new Numbered(processor));
    return regs.rax;
  }

  private static TdmrInfo info(long base, long bytes, PhysicalRange... reserved) {
    return new TdmrInfo(new PhysicalRange(base, bytes), PAMTS, List.of(reserved));
  }

  private static void assertStatus(long actual, long expected) {
    ModuleTestCase.assertStatus(actual, expected);
  }

  /** A processor of a package of its own. */
  private record Numbered(int number) implements LogicalProcessor {

    @Override
    public int packageNumber() {
      return number;
    }

    @Override
    public boolean isInterruptPending() {
      return false;
    }

    @Override
    public boolean isSharedMapped(long gpaWithoutSharedBit, AccessKind kind) {
      return false;
    }
  }
}
