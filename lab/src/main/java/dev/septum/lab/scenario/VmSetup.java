package dev.septum.lab.scenario;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyDescription;
import com.google.common.collect.ImmutableList;
import dev.septum.kvm.VmType;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A VM of a scenario. Slot 0 holds the guest's code, below 4G; a TD is finalized when it starts.
 */
public record VmSetup(
    @JsonPropertyDescription(
            "tdx (private memory in the backend's external page table; with a TDX module that is a"
                + " TD and its S-EPT), sw-protected (private memory without hardware behind it) or"
                + " default (an ordinary VM). Default: tdx.")
        TypeName type,
    @JsonPropertyDescription("vCPUs, numbered from 0. Default: 1.") Integer vcpus,
    @JsonPropertyDescription("Memory slots that are there when the scenario begins.")
        List<SlotSetup> slots,
    @JsonPropertyDescription("Page table levels, 4 or 5. Default: 4.") Integer levels,
    @JsonPropertyDescription("SPTEs of an ordinary VM: ept or npt. Default: ept.")
        FormatName format,
    @JsonPropertyDescription(
            "Of a TD: whether touching memory that is not accepted ends KVM_RUN, instead of raising"
                + " a #VE in the guest. Default: true.")
        Boolean septVeDisable,
    @JsonPropertyDescription(
            "Of a TD: what KVM hands to user space of one MapGPA call. Default: 2M.")
        Bytes mapGpaPiece,
    @JsonPropertyDescription("Of an ordinary VM: the size of each vCPU's dirty ring.")
        @Nullable Bytes dirtyRing,
    @JsonPropertyDescription(
            "Of an ordinary VM: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 1 (manual) or 3 (initially set"
                + " as well).")
        @Nullable Integer manualDirtyLogProtect,
    @JsonPropertyDescription(
            "Of an ordinary VM: deleting a slot zaps that slot only (KVM_X86_QUIRK_SLOT_ZAP_ALL"
                + " disabled). Default: false.")
        Boolean zapSlotOnly) {

  /** A type of VM as files name it. */
  public enum TypeName {
    @JsonProperty("tdx")
    TDX(VmType.TDX),
    @JsonProperty("sw-protected")
    SW_PROTECTED(VmType.SW_PROTECTED),
    @JsonProperty("default")
    DEFAULT(VmType.DEFAULT);

    private final VmType type;

    TypeName(VmType type) {
      this.type = type;
    }

    /** KVM's word for it. */
    public VmType type() {
      return type;
    }
  }

  /** An SPTE format as files name it. */
  public enum FormatName {
    @JsonProperty("ept")
    EPT,
    @JsonProperty("npt")
    NPT
  }

  /** Fills in what the file leaves out. */
  public VmSetup {
    type = type == null ? TypeName.TDX : type;
    vcpus = vcpus == null ? 1 : vcpus;
    slots = slots == null ? ImmutableList.of() : ImmutableList.copyOf(slots);
    levels = levels == null ? 4 : levels;
    format = format == null ? FormatName.EPT : format;
    septVeDisable = septVeDisable == null || septVeDisable;
    mapGpaPiece = mapGpaPiece == null ? new Bytes(2L << 20) : mapGpaPiece;
    zapSlotOnly = zapSlotOnly != null && zapSlotOnly;
  }
}
