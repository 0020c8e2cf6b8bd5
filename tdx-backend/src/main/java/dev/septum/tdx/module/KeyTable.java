package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSortedMap;
import dev.septum.kernel.Kernel;
import java.util.HashMap;
import java.util.Map;

/**
 * KOT: who has which HKID. An HKID without a row is free. Rows change and are read under {@link
 * #lock}, taken exclusively.
 */
final class KeyTable {

  /** What becomes of an HKID between two owners. */
  enum KeyState {
    ASSIGNED,
    /** No vCPU uses it any more, but caches may hold its lines. */
    FLUSHED,
    /** Written back: it can be freed. */
    WRITTEN_BACK
  }

  private final SharexLock lock;
  private final Map<Integer, KeyState> rows = new HashMap<>();

  KeyTable(Kernel kernel) {
    lock = new SharexLock(kernel);
  }

  SharexLock lock() {
    return lock;
  }

  boolean isFree(int hkid) {
    return !rows.containsKey(hkid);
  }

  /** Whether the HKID of a TD is as far as the TD; in TEARDOWN it has none any more. */
  boolean fits(int hkid, Lifecycle lifecycle) {
    KeyState row = rows.get(hkid);
    return switch (lifecycle) {
      case HKID_ASSIGNED, KEYS_CONFIGURED -> row == KeyState.ASSIGNED;
      case BLOCKED -> row == KeyState.FLUSHED || row == KeyState.WRITTEN_BACK;
      case TEARDOWN -> true;
    };
  }

  /** The row of each HKID that is not free. */
  Map<Integer, KeyState> rows() {
    return ImmutableSortedMap.copyOf(rows);
  }

  boolean isWrittenBack(int hkid) {
    return rows.get(hkid) == KeyState.WRITTEN_BACK;
  }

  void assign(int hkid) {
    rows.put(hkid, KeyState.ASSIGNED);
  }

  void flushed(int hkid) {
    rows.put(hkid, KeyState.FLUSHED);
  }

  void free(int hkid) {
    rows.remove(hkid);
  }

  /** Whether PHYMEM.CACHE.WB has something to do. */
  boolean hasFlushed() {
    return rows.containsValue(KeyState.FLUSHED);
  }

  /** PHYMEM.CACHE.WB is through. */
  void writtenBack() {
    rows.replaceAll((hkid, state) -> state == KeyState.FLUSHED ? KeyState.WRITTEN_BACK : state);
  }
}
