package dev.septum.mmu;

import com.google.common.primitives.ImmutableLongArray;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Kvm;
import java.util.List;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * How user space learns which pages the guest wrote: the ioctls of the dirty bitmap and of the
 * dirty rings.
 */
public final class DirtyTracking {

  /** {@code KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE}: GET does not clear, CLEAR does. */
  public static final int MANUAL_PROTECT_ENABLE = 1;

  /** {@code KVM_DIRTY_LOG_INITIALLY_SET}: every page is dirty when logging starts. */
  public static final int INITIALLY_SET = 2;

  /**
   * What a GET returned.
   *
   * @param words one bit a page of the slot; empty on an error
   */
  public record DirtyLog(Errno error, ImmutableLongArray words) {
    static DirtyLog failed(Errno error) {
      return new DirtyLog(error, ImmutableLongArray.of());
    }
  }

  private final KvmMmu mmu;
  private final Kvm kvm;
  private final DirtyLogging logging;

  /** Set before the first vCPU, under slots_lock. */
  private volatile int manualProtect;

  /** Entries of each vCPU's ring; 0 while bitmaps are used. */
  private volatile int ringEntries;

  DirtyTracking(KvmMmu mmu) {
    this.mmu = mmu;
    this.kvm = mmu.kvm();
    this.logging = new DirtyLogging(mmu);
  }

  /**
   * {@code KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2}.
   *
   * @param caps {@link #MANUAL_PROTECT_ENABLE}, with {@link #INITIALLY_SET} or without; 0 for none
   * @return EINVAL for other bits, or INITIALLY_SET alone
   */
  public Errno enableManualProtect(int caps) {
    if (kvm.isBugged()) {
      return Errno.EIO;
    }
    boolean possible = caps == 0 || caps == MANUAL_PROTECT_ENABLE || caps == 3;
    if (possible) {
      manualProtect = caps;
    }
    return possible ? Errno.OK : Errno.EINVAL;
  }

  /**
   * {@code KVM_CAP_DIRTY_LOG_RING}: vCPUs report dirty pages in rings of that many bytes, and there
   * are no bitmaps.
   *
   * @return EINVAL if the size is no power of two of at least a page, if there is a ring already or
   *     a vCPU; E2BIG if it is too large
   */
  public Errno enableRing(long bytes) {
    if (kvm.isBugged()) {
      return Errno.EIO;
    }
    if (bytes < 4096 || Long.bitCount(bytes) != 1) {
      return Errno.EINVAL;
    }
    if (bytes > DirtyRing.MAX_BYTES) {
      return Errno.E2BIG;
    }
    if (ringEntries != 0 || !mmu.vcpus().isEmpty()) {
      return Errno.EINVAL;
    }
    ringEntries = (int) (bytes / DirtyRing.ENTRY_BYTES);
    return Errno.OK;
  }

  /** The ring of a new vCPU, or null if the VM uses bitmaps. */
  @Nullable DirtyRing newRing(int vcpuId) {
    return ringEntries == 0 ? null : new DirtyRing(kvm.kernel(), vcpuId, ringEntries);
  }

  /** Whether every page counts as dirty when logging starts. */
  boolean isInitiallySet() {
    return manualProtect == (MANUAL_PROTECT_ENABLE | INITIALLY_SET);
  }

  /** A bitmap for a slot that begins to log; null if rings take its place. */
  @Nullable DirtyBitmap newBitmap(long pages) {
    return ringEntries == 0 ? new DirtyBitmap(kvm.kernel(), pages, isInitiallySet()) : null;
  }

  /** What follows from a change of a slot's logging flag ({@code kvm_mmu_slot_apply_flags}). */
  DirtyLogging logging() {
    return logging;
  }

  /**
   * Records that a page became writable ({@code mark_page_dirty_in_slot}). No lock needed.
   *
   * @param vcpu whose ring gets the page
   */
  void markDirty(VcpuMmu vcpu, @Nullable Memslot slot, long gfn) {
    if (slot == null || !slot.isLogging()) {
      return;
    }
    long offset = gfn - slot.gfns().start();
    DirtyRing ring = vcpu.dirtyRing();
    if (ring != null) {
      ring.push(slot.asIdAndId(), offset);
      mmu.trace().dirtyRingPush(ring, slot.asIdAndId(), offset);
      return;
    }
    DirtyBitmap bitmap = slot.dirtyBitmap();
    if (bitmap != null) {
      bitmap.mark(offset);
    }
  }

  /**
   * {@code KVM_GET_DIRTY_LOG}. Without manual protection the bits are cleared, and the pages
   * write-protected again. No lock held.
   *
   * @param slot address space in bits 31:16, slot number below
   * @return ENXIO with rings, EINVAL or ENOENT if the slot does not exist or does not log
   */
  public DirtyLog getDirtyLog(int slot) {
    return mmu.withSlotsLock(() -> getLocked(slot));
  }

  private DirtyLog getLocked(int slotNumber) {
    Errno error = check(slotNumber);
    Memslot slot = mmu.memslots().byId(slotNumber);
    DirtyBitmap bitmap = slot == null ? null : slot.dirtyBitmap();
    if (error.isError() || slot == null || bitmap == null) {
      return DirtyLog.failed(error.isError() ? error : Errno.ENOENT);
    }
    long[] words = new long[bitmap.words()];
    if (manualProtect != 0) {
      for (int i = 0; i < words.length; i++) {
        words[i] = bitmap.word(i);
      }
      return new DirtyLog(Errno.OK, ImmutableLongArray.copyOf(words));
    }
    boolean flush =
        mmu.withMmuLock(
            () -> {
              boolean any = false;
              for (int i = 0; i < words.length; i++) {
                words[i] = bitmap.word(i) == 0 ? 0 : bitmap.take(i);
                any |= logging.protectAgain(slot, i, words[i]);
              }
              return any;
            });
    if (flush) {
      kvm.flushRemoteTlbs();
    }
    return new DirtyLog(Errno.OK, ImmutableLongArray.copyOf(words));
  }

  /**
   * {@code KVM_CLEAR_DIRTY_LOG}: clears bits of a slot's bitmap and write-protects those pages
   * again. No lock held.
   *
   * @param slot address space in bits 31:16, slot number below
   * @param firstPage first page in the slot, a multiple of 64
   * @param pages a multiple of 64, unless it reaches the slot's end
   * @param words the bits to clear, from {@code firstPage} on
   * @return as {@link #getDirtyLog}, and EINVAL for a range that is not in the slot
   */
  public Errno clearDirtyLog(int slot, long firstPage, long pages, ImmutableLongArray words) {
    return mmu.withSlotsLock(() -> clearLocked(slot, firstPage, pages, words));
  }

  private Errno clearLocked(int slotNumber, long firstPage, long pages, ImmutableLongArray clear) {
    Errno error = check(slotNumber);
    if (!error.isError() && firstPage % DirtyBitmap.WORD_PAGES != 0) {
      error = Errno.EINVAL;
    }
    Memslot slot = mmu.memslots().byId(slotNumber);
    DirtyBitmap bitmap = slot == null ? null : slot.dirtyBitmap();
    if (error.isError() || slot == null || bitmap == null) {
      return error.isError() ? error : Errno.ENOENT;
    }
    long slotPages = slot.gfns().pages();
    if (firstPage < 0
        || pages < 0
        || firstPage > slotPages
        || pages > slotPages - firstPage
        || (pages < slotPages - firstPage && pages % DirtyBitmap.WORD_PAGES != 0)
        || clear.length() < DirtyBitmap.wordCount(pages)) {
      return Errno.EINVAL;
    }
    int first = Math.toIntExact(firstPage / DirtyBitmap.WORD_PAGES);
    Supplier<Boolean> body =
        () -> {
          boolean any = false;
          for (int i = 0; i < DirtyBitmap.wordCount(pages); i++) {
            long cleared = clear.get(i) == 0 ? 0 : bitmap.clear(first + i, clear.get(i));
            any |= logging.protectAgain(slot, first + i, cleared);
          }
          return any;
        };
    if (mmu.withMmuLock(body)) {
      kvm.flushRemoteTlbs();
    }
    return Errno.OK;
  }

  private Errno check(int slotNumber) {
    if (kvm.isBugged()) {
      return Errno.EIO;
    }
    if (ringEntries != 0) {
      return Errno.ENXIO;
    }
    return mmu.memslots().isPossibleId(slotNumber) ? Errno.OK : Errno.EINVAL;
  }

  /**
   * {@code KVM_RESET_DIRTY_RINGS}: takes back what user space has collected and write-protects
   * those pages again. No lock held.
   *
   * @return how many entries, or as a negative number EINVAL if there are no rings
   */
  public int resetRings() {
    if (kvm.isBugged() || ringEntries == 0) {
      return (kvm.isBugged() ? Errno.EIO : Errno.EINVAL).code();
    }
    return mmu.withSlotsLock(
        () -> {
          int taken = 0;
          for (VcpuMmu vcpu : mmu.vcpus()) {
            DirtyRing ring = vcpu.dirtyRing();
            taken += ring == null ? 0 : reset(ring);
          }
          if (taken > 0) {
            kvm.flushRemoteTlbs();
          }
          return taken;
        });
  }

  private int reset(DirtyRing ring) {
    List<DirtyRing.Entry> entries = ring.takeCollected();
    DirtyRun run = new DirtyRun();
    for (DirtyRing.Entry entry : entries) {
      if (!run.add(entry)) {
        protectAgain(run);
        run = new DirtyRun();
        run.add(entry);
      }
    }
    protectAgain(run);
    mmu.trace().dirtyRingReset(ring);
    return entries.size();
  }

  private void protectAgain(DirtyRun run) {
    Memslot slot = run.isEmpty() ? null : mmu.memslots().byId(run.slot());
    if (slot != null && run.last() < slot.gfns().pages()) {
      mmu.withMmuLock(
          () -> {
            logging.protectAgain(slot, run.offset(), run.mask());
            return Errno.OK;
          });
    }
  }
}
