package dev.septum.lab.scenario;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyDescription;
import com.google.common.collect.ImmutableList;
import dev.septum.kernel.LockClass;
import dev.septum.tdx.module.SeamcallLeaf;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Something that is made to go wrong, or to happen at an awkward moment. */
public record Injection(
    @JsonPropertyDescription(
            "An allocation that fails: the owner of the page (pamt_cache, mmu_page_table,"
                + " external_page_table, guest_memory, user_memory, td_control)"
                + " or kvm_mmu_page_header.")
        @Nullable String allocation,
    @JsonPropertyDescription(
            "A SEAMCALL that is disturbed, such as TDH_MEM_PAGE_DEMOTE; of a backend with a TDX"
                + " module.")
        @Nullable SeamcallLeaf seamcall,
    @JsonPropertyDescription(
            "What the SEAMCALL returns without having done anything: a status such as"
                + " TDX_OPERAND_BUSY. Default: TDX_OPERAND_BUSY.")
        @Nullable String status,
    @JsonPropertyDescription("Instead: an event is pending all through the SEAMCALL.")
        Boolean interrupted,
    @JsonPropertyDescription(
            "Steps of another thread that are done when a lock of this class is taken, before it is"
                + " had.")
        @Nullable LockName before,
    @JsonPropertyDescription("The steps for before.") @Nullable List<Step> steps,
    @JsonPropertyDescription("Which one from now on; 1 is the next. Default: 1.") Integer next,
    @JsonPropertyDescription("How many from there on. Default: 1.") Integer times) {

  /** A lock class as the kernel names it. */
  public enum LockName {
    @JsonProperty("slots_lock")
    SLOTS_LOCK(LockClass.SLOTS_LOCK),
    @JsonProperty("invalidate_lock")
    INVALIDATE_LOCK(LockClass.GMEM_INVALIDATE_LOCK),
    @JsonProperty("mmu_lock")
    MMU_LOCK(LockClass.MMU_LOCK),
    @JsonProperty("prealloc_split_cache_lock")
    PREALLOC_SPLIT_CACHE_LOCK(LockClass.PREALLOC_SPLIT_CACHE_LOCK),
    @JsonProperty("pamt_lock")
    PAMT_LOCK(LockClass.PAMT_LOCK);

    private final LockClass lockClass;

    LockName(LockClass lockClass) {
      this.lockClass = lockClass;
    }

    /** The emulator's word for it. */
    public LockClass lockClass() {
      return lockClass;
    }
  }

  /** Fills in what the file leaves out. */
  public Injection {
    steps = steps == null ? null : ImmutableList.copyOf(steps);
    next = next == null ? 1 : next;
    times = times == null ? 1 : times;
    interrupted = interrupted != null && interrupted;
  }
}
