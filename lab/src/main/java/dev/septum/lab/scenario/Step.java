package dev.septum.lab.scenario;

import com.fasterxml.jackson.annotation.JsonPropertyDescription;
import com.google.common.collect.ImmutableList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * One thing that a guest, the VMM or the host does: who, one {@link Verb}, how, and what comes of
 * it. The verb's value is under its key; every other verb's is null.
 */
public record Step(
    // Who.
    @JsonPropertyDescription(
            "Which vCPU runs the guest's part: VM/NUMBER, or the number alone if there is one VM.")
        @Nullable String vcpu,
    @JsonPropertyDescription("Which VM the VMM acts on; may be left out if there is only one.")
        @Nullable String vm,
    @JsonPropertyDescription("Which guest_memfd is meant; may be left out if there is only one.")
        @Nullable String file,

    // What a guest does.
    @JsonPropertyDescription(
            "The guest of a TD accepts private memory as Linux does: at 2M where it can.")
        @Nullable List<ByteRange> accept,
    @JsonPropertyDescription("The guest reads one address in each page.")
        @Nullable List<ByteRange> read,
    @JsonPropertyDescription("The guest writes one address in each page.")
        @Nullable List<ByteRange> write,
    @JsonPropertyDescription("The guest executes one instruction in each page.")
        @Nullable List<ByteRange> execute,
    @JsonPropertyDescription(
            "Memory becomes shared or private (to). With vcpu, the guest of a TD asks for it"
                + " (MapGPA) and the VMM does it; with vm, the VMM does it: attributes, then what"
                + " was behind the memory is given back.")
        @Nullable ByteRange convert,
    @JsonPropertyDescription("KVM_PRE_FAULT_MEMORY: mappings without a guest's access.")
        @Nullable ByteRange preFault,

    // What the VMM does.
    @JsonPropertyDescription("KVM_SET_MEMORY_ATTRIBUTES alone.") @Nullable ByteRange setAttributes,
    @JsonPropertyDescription(
            "New memory slots, one or a list; the first that KVM refuses ends the step. Addresses and"
                + " sizes go to KVM as they are.")
        @Nullable List<SlotSetup> addSlot,
    @JsonPropertyDescription("Deletes the slots of these numbers.")
        @Nullable List<Integer> deleteSlot,
    @JsonPropertyDescription("Moves the slot of this number to another address (gpa).")
        @Nullable Integer moveSlot,
    @JsonPropertyDescription("Gives the slot of this number other flags (flags).")
        @Nullable Integer setFlags,
    @JsonPropertyDescription(
            "KVM_GET_DIRTY_LOG of the slot of this number; dirty says what must be in it.")
        @Nullable Integer getDirtyLog,
    @JsonPropertyDescription(
            "KVM_CLEAR_DIRTY_LOG of the slot of this number, for pages of the range within.")
        @Nullable Integer clearDirtyLog,
    @JsonPropertyDescription("Empties the vCPUs' dirty rings; dirty says what must be in them.")
        @Nullable Boolean collectDirtyRings,
    @JsonPropertyDescription(
            "Splits the huge private leafs that stick out of the range, and zaps nothing"
                + " (kvm_split_cross_boundary_leafs), under mmu_lock (lock).")
        @Nullable ByteRange split,
    @JsonPropertyDescription("Fills the VM's split cache, as a split does with mmu_lock dropped.")
        @Nullable Boolean topupSplitCache,
    @JsonPropertyDescription("Gives back shared memory (MADV_DONTNEED).")
        @Nullable ByteRange discard,
    @JsonPropertyDescription("Looks which shared pages were accessed, and forgets it (aging).")
        @Nullable ByteRange age,
    @JsonPropertyDescription("Destroys the VM, its own files first.") @Nullable Boolean destroy,

    // What happens to a file or on the host.
    @JsonPropertyDescription("Frees a range of the file (FALLOC_FL_PUNCH_HOLE).")
        @Nullable ByteRange punchHole,
    @JsonPropertyDescription(
            "A range of the file becomes shared or private (to) where it is: host and guest use"
                + " what is shared, and nothing is given back.")
        @Nullable ByteRange convertFile,
    @JsonPropertyDescription("Gives every page of a range of the file its memory (fallocate).")
        @Nullable ByteRange allocate,
    @JsonPropertyDescription("Writes parameters of the kvm module.")
        @Nullable Map<String, String> setParameters,
    @JsonPropertyDescription("The recovery worker of NX huge pages runs once.")
        @Nullable Boolean recoverNxHugePages,

    // What is done to the scenario.
    @JsonPropertyDescription("Makes something go wrong from now on.") @Nullable Injection inject,
    @JsonPropertyDescription("What was injected is taken back.") @Nullable Boolean stopInjecting,
    @JsonPropertyDescription("What must hold now.") @Nullable Expectation expect,
    @JsonPropertyDescription("Several steps as one, for repeat; the report has one line for them.")
        @Nullable List<Step> steps,

    // How.
    @JsonPropertyDescription("Of accept: at this level only, 4K or 2M.") @Nullable Level at,
    @JsonPropertyDescription("Of accept: each page is written to before it is accepted.")
        @Nullable Boolean touchFirst,
    @JsonPropertyDescription("Of read, write, execute: one address in so many bytes. Default: 4K.")
        @Nullable Bytes every,
    @JsonPropertyDescription(
            "Of read, write, execute: in a TD, by the shared alias. Default: as the memory is when"
                + " the step begins.")
        @Nullable Kind as,
    @JsonPropertyDescription("Of convert, convert-file and set-attributes: shared or private.")
        @Nullable Kind to,
    @JsonPropertyDescription("Of split: write or read. Default: write.") @Nullable Lock lock,
    @JsonPropertyDescription("Of move-slot: the slot's new address.") @Nullable Bytes gpa,
    @JsonPropertyDescription("Of set-flags: the slot's new flags.")
        @Nullable List<SlotSetup.Flag> flags,
    @JsonPropertyDescription("Of clear-dirty-log: these pages only, by their guest addresses.")
        @Nullable ByteRange within,
    @JsonPropertyDescription(
            "Of read, write, execute: the vCPU is in SMM meanwhile, and sees the slots of address"
                + " space 1. For VMs of type default.")
        @Nullable Boolean smm,
    @JsonPropertyDescription(
            "Of steps with slots: the address space that the number is of. Default: 0.")
        @Nullable Integer addressSpace,
    @JsonPropertyDescription(
            "How often the step is done; the first result that is not what returns says ends it."
                + " Default: 1.")
        Integer repeat,

    // What comes of it.
    @JsonPropertyDescription(
            "Of get-dirty-log and collect-dirty-rings: the guest memory that must be dirty, and no"
                + " other.")
        @Nullable List<ByteRange> dirty,
    @JsonPropertyDescription("Of pre-fault: the bytes that must be left when it returns.")
        @Nullable Bytes left,
    @JsonPropertyDescription(
            "Of a step that ends with memory-fault or map-gpa: the guest memory that KVM must"
                + " name.")
        @Nullable ByteRange exitRange,
    @JsonPropertyDescription("Of the same: what that memory must be wanted as, shared or private.")
        @Nullable Kind exitKind,
    @JsonPropertyDescription(
            "What the step must come to: OK, an errno, 1 or an exit to user space; a list of what"
                + " it may come to; or a mapping from backends to these. Default: OK.")
        Returns returns) {

  /** How mmu_lock is held. */
  public enum Lock {
    @com.fasterxml.jackson.annotation.JsonProperty("write")
    WRITE,
    @com.fasterxml.jackson.annotation.JsonProperty("read")
    READ
  }

  /** Fills in what the file leaves out. */
  public Step {
    repeat = repeat == null ? 1 : repeat;
    returns = returns == null ? Returns.DONE : returns;
  }

  /** The verbs that the step has: one, in a valid scenario. */
  ImmutableList<Verb> verbs() {
    return Verb.ALL.stream()
        .filter(verb -> verb.of(this) != null)
        .collect(ImmutableList.toImmutableList());
  }

  /** What is to be done. */
  public Verb verb() {
    return verbs().get(0);
  }
}
