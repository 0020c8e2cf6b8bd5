package dev.septum.tdx.module;

import java.util.Optional;

/** Status words of the module: the upper half is a code, the lower half usually an operand id. */
public final class TdxStatus {

  // General / flow
  public static final long TDX_SUCCESS = 0x0000000000000000L;
  public static final long TDX_NON_RECOVERABLE_VCPU = 0x4000000100000000L;
  public static final long TDX_NON_RECOVERABLE_TD = 0x6000000200000000L;
  public static final long TDX_INTERRUPTED_RESUMABLE = 0x8000000300000000L;
  public static final long TDX_INTERRUPTED_RESTARTABLE = 0x8000000400000000L;
  public static final long TDX_NON_RECOVERABLE_TD_NON_ACCESSIBLE = 0x6000000500000000L;
  public static final long TDX_INVALID_RESUMPTION = 0xC000000600000000L;
  public static final long TDX_NON_RECOVERABLE_TD_WRONG_APIC_MODE = 0xE000000700000000L;
  public static final long TDX_CROSS_TD_FAULT = 0x8000000800000000L;
  public static final long TDX_CROSS_TD_TRAP = 0x9000000900000000L;
  public static final long TDX_NON_RECOVERABLE_TD_CORRUPTED_MD = 0x6000000A00000000L;
  public static final long TDX_OPERAND_INVALID = 0xC000010000000000L;
  public static final long TDX_OPERAND_ADDR_RANGE_ERROR = 0xC000010100000000L;
  public static final long TDX_OPERAND_BUSY = 0x8000020000000000L;
  public static final long TDX_PREVIOUS_TLB_EPOCH_BUSY = 0x8000020100000000L;
  public static final long TDX_SYS_BUSY = 0x8000020200000000L;
  public static final long TDX_RND_NO_ENTROPY = 0x8000020300000000L;
  public static final long TDX_OPERAND_BUSY_HOST_PRIORITY = 0x8000020400000000L;
  public static final long TDX_HOST_PRIORITY_BUSY_TIMEOUT = 0x9000020500000000L;
  public static final long TDX_INTERRUPTED_BUSY = 0x8000020600000000L;

  // Physical page / PAMT
  public static final long TDX_PAGE_METADATA_INCORRECT = 0xC000030000000000L;
  public static final long TDX_PAGE_ALREADY_FREE = 0x0000030100000000L;
  public static final long TDX_PAGE_NOT_OWNED_BY_TD = 0xC000030200000000L;
  public static final long TDX_PAGE_NOT_FREE = 0xC000030300000000L;
  public static final long TDX_HPA_RANGE_NOT_FREE = 0xC000030400000000L;
  public static final long TDX_NO_PAMT_PAGE_PAIR = 0xC000030500000000L;
  public static final long TDX_PAMT_PAGE_NOT_EMPTY = 0xC000030600000000L;
  public static final long TDX_INTERRUPTED_PAMT = 0x8000030700000000L;
  public static final long TDX_MISSING_PAMT_PAGE_PAIR = 0x8000030800000000L;
  public static final long TDX_TD_ASSOCIATED_PAGES_EXIST = 0xC000040000000000L;

  // Module state
  public static final long TDX_SYS_INIT_NOT_PENDING = 0xC000050000000000L;
  public static final long TDX_SYS_LP_INIT_NOT_DONE = 0xC000050200000000L;
  public static final long TDX_SYS_LP_INIT_DONE = 0xC000050300000000L;
  public static final long TDX_SYS_NOT_READY = 0xC000050500000000L;
  public static final long TDX_SYS_SHUTDOWN = 0xC000050600000000L;
  public static final long TDX_SYS_KEY_CONFIG_NOT_PENDING = 0xC000050700000000L;
  public static final long TDX_SYS_STATE_INCORRECT = 0xC000050800000000L;
  public static final long TDX_SYS_INVALID_HANDOFF = 0xC000050900000000L;
  public static final long TDX_SYS_LP_INIT_NOT_PENDING = 0xC000050B00000000L;
  public static final long TDX_SYS_CONFIG_NOT_PENDING = 0xC000050C00000000L;

  // TD / VCPU state
  public static final long TDX_TD_FATAL = 0xE000060400000000L;
  public static final long TDX_TD_NON_DEBUG = 0xC000060500000000L;
  public static final long TDX_TDCS_NOT_ALLOCATED = 0xC000060600000000L;
  public static final long TDX_LIFECYCLE_STATE_INCORRECT = 0xC000060700000000L;
  public static final long TDX_OP_STATE_INCORRECT = 0xC000060800000000L;
  public static final long TDX_NO_VCPUS = 0xC000060900000000L;
  public static final long TDX_TDCX_NUM_INCORRECT = 0xC000061000000000L;
  public static final long TDX_X2APIC_ID_NOT_UNIQUE = 0xC000062100000000L;
  public static final long TDX_INCOMPATIBLE_MRTD_CONTEXT = 0xC000062200000000L;
  public static final long TDX_VCPU_STATE_INCORRECT = 0xC000070000000000L;
  public static final long TDX_VCPU_ASSOCIATED = 0x8000070100000000L;
  public static final long TDX_VCPU_NOT_ASSOCIATED = 0x8000070200000000L;
  public static final long TDX_NO_VALID_VE_INFO = 0xC000070400000000L;
  public static final long TDX_MAX_VCPUS_EXCEEDED = 0xC000070500000000L;
  public static final long TDX_TSC_ROLLBACK = 0xC000070600000000L;

  // Keys / cache
  public static final long TDX_KEY_GENERATION_FAILED = 0x8000080000000000L;
  public static final long TDX_TD_KEYS_NOT_CONFIGURED = 0x8000081000000000L;
  public static final long TDX_KEY_STATE_INCORRECT = 0xC000081100000000L;
  public static final long TDX_KEY_CONFIGURED = 0x0000081500000000L;
  public static final long TDX_WBCACHE_NOT_COMPLETE = 0x8000081700000000L;
  public static final long TDX_HKID_NOT_FREE = 0xC000082000000000L;
  public static final long TDX_NO_HKID_READY_TO_WBCACHE = 0x0000082100000000L;
  public static final long TDX_WBCACHE_RESUME_ERROR = 0xC000082300000000L;
  public static final long TDX_FLUSHVP_NOT_DONE = 0x8000082400000000L;

  // TDMR / PAMT configuration
  public static final long TDX_INVALID_TDMR = 0xC0000A0000000000L;
  public static final long TDX_NON_ORDERED_TDMR = 0xC0000A0100000000L;
  public static final long TDX_TDMR_OUTSIDE_CMRS = 0xC0000A0200000000L;
  public static final long TDX_TDMR_ALREADY_INITIALIZED = 0x00000A0300000000L;
  public static final long TDX_INVALID_PAMT = 0xC0000A1000000000L;
  public static final long TDX_PAMT_OUTSIDE_CMRS = 0xC0000A1100000000L;
  public static final long TDX_PAMT_OVERLAP = 0xC0000A1200000000L;
  public static final long TDX_INVALID_RESERVED_IN_TDMR = 0xC0000A2000000000L;
  public static final long TDX_NON_ORDERED_RESERVED_IN_TDMR = 0xC0000A2100000000L;
  public static final long TDX_CMR_LIST_INVALID = 0xC0000A2200000000L;

  // S-EPT
  public static final long TDX_EPT_WALK_FAILED = 0xC0000B0000000000L;
  public static final long TDX_EPT_ENTRY_FREE = 0xC0000B0100000000L;
  public static final long TDX_EPT_ENTRY_NOT_FREE = 0xC0000B0200000000L;
  public static final long TDX_EPT_ENTRY_NOT_PRESENT = 0xC0000B0300000000L;
  public static final long TDX_EPT_ENTRY_NOT_LEAF = 0xC0000B0400000000L;
  public static final long TDX_EPT_ENTRY_LEAF = 0xC0000B0500000000L;
  public static final long TDX_GPA_RANGE_NOT_BLOCKED = 0xC0000B0600000000L;
  public static final long TDX_GPA_RANGE_ALREADY_BLOCKED = 0x00000B0700000000L;
  public static final long TDX_TLB_TRACKING_NOT_DONE = 0xC0000B0800000000L;
  public static final long TDX_EPT_INVALID_PROMOTE_CONDITIONS = 0xC0000B0900000000L;
  public static final long TDX_PAGE_ALREADY_ACCEPTED = 0x00000B0A00000000L;
  public static final long TDX_PAGE_SIZE_MISMATCH = 0xC0000B0B00000000L;
  public static final long TDX_GPA_RANGE_BLOCKED = 0xC0000B0C00000000L;
  public static final long TDX_EPT_ENTRY_STATE_INCORRECT = 0xC0000B0D00000000L;
  public static final long TDX_EPT_PAGE_NOT_FREE = 0xC0000B0E00000000L;
  public static final long TDX_L2_SEPT_WALK_FAILED = 0xC0000B0F00000000L;
  public static final long TDX_L2_SEPT_ENTRY_NOT_FREE = 0xC0000B1000000000L;
  public static final long TDX_PAGE_ATTR_INVALID = 0xC0000B1100000000L;
  public static final long TDX_L2_SEPT_PAGE_NOT_PROVIDED = 0xC0000B1200000000L;
  public static final long TDX_BLOCKED_MEMORY_EXISTS = 0x80000B1300000000L;

  // Metadata / migration codes a memory emulator may meet
  public static final long TDX_METADATA_FIELD_ID_INCORRECT = 0xC0000C0000000000L;
  public static final long TDX_METADATA_FIELD_NOT_WRITABLE = 0xC0000C0100000000L;
  public static final long TDX_METADATA_FIELD_NOT_READABLE = 0xC0000C0200000000L;
  public static final long TDX_METADATA_FIELD_VALUE_NOT_VALID = 0xC0000C0300000000L;
  public static final long TDX_NOT_WRITE_BLOCKED = 0xC0000E0200000000L;
  public static final long TDX_ALREADY_WRITE_BLOCKED = 0x00000E0300000000L;
  public static final long TDX_NOT_EXPORTED = 0xC0000E0400000000L;
  public static final long TDX_EXPORTED_DIRTY_PAGES_REMAIN = 0xC0000E0700000000L;
  public static final long TDX_MIGRATED_IN_CURRENT_EPOCH = 0xC0000E1000000000L;
  public static final long TDX_DISALLOWED_IMPORT_OVER_REMOVED = 0xC0000E1100000000L;
  public static final long TDX_UNEXPORTED_MEMORY_REMAINS = 0x80000E1D00000000L;
  public static final long TDX_BLOCKING_DISALLOWED = 0xC0000E2000000000L;
  public static final long TDX_IOMMU_IOTLB_TRACKING_NOT_DONE = 0xC0000F0300000000L;

  private static final long ERROR = 1L << 63;
  private static final long CODE_MASK = 0xFFFFFFFF00000000L;
  private static final NumberNames NAMES = NumberNames.ofConstants(TdxStatus.class, long.class);

  private TdxStatus() {}

  /** The status without its low half, to compare with the constants of this class. */
  public static long code(long status) {
    return status & CODE_MASK;
  }

  /** Whether the ERROR bit is set. Informational codes are no errors. */
  public static boolean isError(long status) {
    return (status & ERROR) != 0;
  }

  /** Whether the call did what it was asked to, without reservation. */
  public static boolean isSuccess(long status) {
    return code(status) == TDX_SUCCESS;
  }

  /** Whether a lock was taken: {@code TDX_OPERAND_BUSY}, whatever the operand. */
  public static boolean isBusy(long status) {
    return code(status) == TDX_OPERAND_BUSY;
  }

  /** The status code of that name: {@code TDX_OPERAND_BUSY}. */
  public static Optional<Long> named(String name) {
    return NAMES.valueOf(name);
  }

  /** The status in words and digits: {@code TDX_OPERAND_BUSY | RCX (0x8000020000000001)}. */
  public static String describe(long status) {
    String code = NAMES.of(code(status));
    int detail = (int) status;
    String words = detail == 0 ? code : code + " | " + OperandId.name(detail);
    return String.format("%s (0x%016x)", words, status);
  }
}
