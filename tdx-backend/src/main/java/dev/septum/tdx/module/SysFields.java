package dev.septum.tdx.module;

import java.util.NavigableMap;
import java.util.TreeMap;

/** The global metadata that SYS.RD shows, by field id. */
public final class SysFields {

  /** The id that stands before the first and behind the last field. */
  public static final long NONE = -1;

  public static final long MINOR_VERSION = 0x0800000100000003L;
  public static final long MAJOR_VERSION = 0x0800000100000004L;
  public static final long UPDATE_VERSION = 0x0800000100000005L;
  public static final long TDX_FEATURES0 = 0x0A00000300000008L;
  public static final long NUM_CMRS = 0x9000000100000000L;
  public static final long CMR_BASE0 = 0x9000000300000080L;
  public static final long CMR_SIZE0 = 0x9000000300000100L;
  public static final long MAX_TDMRS = 0x9100000100000008L;
  public static final long MAX_RESERVED_PER_TDMR = 0x9100000100000009L;
  public static final long PAMT_4K_ENTRY_SIZE = 0x9100000100000010L;
  public static final long PAMT_2M_ENTRY_SIZE = 0x9100000100000011L;
  public static final long PAMT_1G_ENTRY_SIZE = 0x9100000100000012L;
  public static final long PAMT_PAGE_BITMAP_ENTRY_BITS = 0x9100000100000013L;

  private final NavigableMap<Long, Long> values = new TreeMap<>(Long::compareUnsigned);

  private SysFields() {}

  static SysFields of(ModuleState module) {
    SysFields fields = new SysFields();
    fields.putVersion(module.config());
    fields.putMemory(module.platform());
    if (module.config().dynamicPamt()) {
      fields.values.put(PAMT_PAGE_BITMAP_ENTRY_BITS, 1L);
    }
    return fields;
  }

  boolean has(long id) {
    return values.containsKey(id);
  }

  long value(long id) {
    return values.getOrDefault(id, 0L);
  }

  /** The id of the field behind {@code id}; {@link #NONE} behind the last one. */
  long after(long id) {
    Long next = id == NONE ? values.firstKey() : values.higherKey(id);
    return next == null ? NONE : next;
  }

  private void putVersion(TdxModuleConfig config) {
    values.put(MAJOR_VERSION, 1L);
    values.put(MINOR_VERSION, 5L);
    values.put(UPDATE_VERSION, (long) config.release().update());
    values.put(TDX_FEATURES0, config.features0());
  }

  private void putMemory(Platform platform) {
    values.put(NUM_CMRS, (long) platform.cmrs().size());
    for (int i = 0; i < platform.cmrs().size(); i++) {
      values.put(CMR_BASE0 + i, platform.cmrs().get(i).base());
      values.put(CMR_SIZE0 + i, platform.cmrs().get(i).bytes());
    }
    values.put(MAX_TDMRS, (long) TdmrList.MAX_TDMRS);
    values.put(MAX_RESERVED_PER_TDMR, (long) TdmrInfo.MAX_RESERVED);
    values.put(PAMT_4K_ENTRY_SIZE, 16L);
    values.put(PAMT_2M_ENTRY_SIZE, 16L);
    values.put(PAMT_1G_ENTRY_SIZE, 16L);
  }
}
