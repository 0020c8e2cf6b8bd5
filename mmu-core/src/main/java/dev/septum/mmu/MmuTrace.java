package dev.septum.mmu;

import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.TraceSink;

/** The trace events of the MMU, in the kernel's own printk formats ({@code mmutrace.h}). */
final class MmuTrace {

  private final TraceSink sink;
  private final SpteFormat format;

  MmuTrace(TraceSink sink, SpteFormat format) {
    this.sink = sink;
    this.format = format;
  }

  void spteChanged(int asId, long gfn, PageLevel level, long oldSpte, long newSpte) {
    if (sink.isOn()) {
      // By far the most frequent event: String.format would take most of a traced run.
      sink.event(
          "kvm_tdp_mmu_spte_changed",
          "as id "
              + asId
              + " gfn "
              + Long.toHexString(gfn)
              + " level "
              + level.number()
              + " old_spte "
              + Long.toHexString(oldSpte)
              + " new_spte "
              + Long.toHexString(newSpte));
    }
  }

  /** A change that is told apart from the bookkeeping: aging, and the clearing of dirty bits. */
  void spteChanged(TdpIter iter, long oldSpte, long newSpte) {
    spteChanged(iter.asId(), iter.gfn(), iter.level(), oldSpte, newSpte);
  }

  void splitHugePage(long gfn, long spte, PageLevel level, Errno errno) {
    if (sink.isOn()) {
      sink.event(
          "kvm_mmu_split_huge_page",
          "gfn %x spte %x level %d errno %d".formatted(gfn, spte, level.number(), errno.code()));
    }
  }

  void spteRequested(PageFault fault) {
    if (sink.isOn()) {
      long pfn = fault.pfn() | (fault.gfn() & (fault.goalLevel().pages() - 1));
      sink.event(
          "kvm_mmu_spte_requested",
          "gfn %x pfn %x level %d".formatted(fault.gfn(), pfn, fault.goalLevel().number()));
    }
  }

  void setSpte(TdpIter iter) {
    if (sink.isOn()) {
      long spte = iter.currentSpte();
      sink.event(
          "kvm_mmu_set_spte",
          "gfn %x spte %x (r%s%s%s) level %d at %x"
              .formatted(
                  iter.gfn(),
                  spte,
                  format.isWritable(spte) ? "w" : "-",
                  format.isExecutable(spte) ? "x" : "-",
                  format.isUser(spte) ? "u" : "-",
                  iter.level().number(),
                  iter.sptePa()));
    }
  }

  void getPage(MmuPage page) {
    if (sink.isOn()) {
      sink.event("kvm_mmu_get_page", page + " new");
    }
  }

  void prepareZapPage(MmuPage page) {
    if (sink.isOn()) {
      sink.event("kvm_mmu_prepare_zap_page", page.toString());
    }
  }

  void markMmioSpte(TdpIter iter, long spte) {
    if (sink.isOn()) {
      sink.event(
          "mark_mmio_spte",
          "sptep:%016x gfn %x access %x gen %x"
              .formatted(
                  iter.sptePa(),
                  iter.gfn(),
                  SpteFormat.mmioAccessBits(spte),
                  format.mmioGeneration(spte)));
    }
  }

  void checkMmioSpte(long spte, long kvmGeneration, long spteGeneration) {
    if (sink.isOn()) {
      sink.event(
          "check_mmio_spte",
          "spte %x kvm_gen %x spte-gen %x valid %d"
              .formatted(
                  spte, kvmGeneration, spteGeneration, kvmGeneration == spteGeneration ? 1 : 0));
    }
  }

  void handleMmioPageFault(long gfn, long access) {
    if (sink.isOn()) {
      // A direct MMU has no guest virtual address: 0.
      sink.event("handle_mmio_page_fault", "addr:0 gfn %x access %x".formatted(gfn, access));
    }
  }

  void matchMmio(long gpa, boolean write) {
    if (sink.isOn()) {
      sink.event(
          "vcpu_match_mmio",
          "gva %#x gpa %#x %s GPA".formatted(gpa, gpa, write ? "Write" : "Read"));
    }
  }

  /** What the walk of a fault returned, as a probe on {@code kvm_tdp_mmu_map} prints it. */
  void mapReturned(RetPf result) {
    if (sink.isOn()) {
      sink.event("tdp_map_ret", "ret_pf=" + result.number());
    }
  }

  void dirtyRingPush(DirtyRing ring, int slot, long offset) {
    if (sink.isOn()) {
      sink.event(
          "kvm_dirty_ring_push",
          "ring %d: dirty 0x%x reset 0x%x slot %d offset 0x%x (used %d)"
              .formatted(
                  ring.vcpuId(), ring.dirtyIndex(), ring.resetIndex(), slot, offset, ring.used()));
    }
  }

  void dirtyRingReset(DirtyRing ring) {
    if (sink.isOn()) {
      sink.event(
          "kvm_dirty_ring_reset",
          "ring %d: dirty 0x%x reset 0x%x (used %d)"
              .formatted(ring.vcpuId(), ring.dirtyIndex(), ring.resetIndex(), ring.used()));
    }
  }

  void unmapHvaRange(long startHva, long endHva) {
    if (sink.isOn()) {
      sink.event(
          "kvm_unmap_hva_range",
          "mmu notifier unmap range: 0x%014x -- 0x%014x".formatted(startHva, endHva));
    }
  }

  void ageHva(long startHva, long endHva) {
    if (sink.isOn()) {
      sink.event(
          "kvm_age_hva", "mmu notifier age hva: 0x%014x -- 0x%014x".formatted(startHva, endHva));
    }
  }

  void testAgeHva(long hva) {
    if (sink.isOn()) {
      sink.event("kvm_test_age_hva", "mmu notifier test age hva: 0x%014x".formatted(hva));
    }
  }

  void fastPageFault(int vcpu, PageFault fault, TdpIter iter, RetPf result) {
    if (sink.isOn()) {
      sink.event(
          "fast_page_fault",
          "vcpu %d gva %x error_code %s sptep %016x old %#x new %x spurious %d fixed %d"
              .formatted(
                  vcpu,
                  fault.gpa(),
                  PageFault.errorCodeText(fault.errorCode()),
                  iter.sptePa(),
                  iter.oldSpte(),
                  iter.currentSpte(),
                  result == RetPf.SPURIOUS ? 1 : 0,
                  result == RetPf.FIXED ? 1 : 0));
    }
  }

  void pageFault(int vcpu, long rip, long address, long errorCode) {
    if (sink.isOn()) {
      sink.event(
          "kvm_page_fault",
          "vcpu %d rip 0x%x address 0x%016x error_code 0x%x"
              .formatted(vcpu, rip, address, errorCode));
    }
  }

  void setMemAttributes(GfnRange range, long attributes) {
    if (sink.isOn()) {
      sink.event(
          "kvm_vm_set_mem_attributes",
          "0x%014x -- 0x%014x [0x%x]".formatted(range.start(), range.end(), attributes));
    }
  }

  void zapAllFast(int generation) {
    if (sink.isOn()) {
      sink.event("kvm_mmu_zap_all_fast", "kvm-mmu-valid-gen %d used_pages 0".formatted(generation));
    }
  }
}
