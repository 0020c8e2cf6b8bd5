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
      sink.event(
          "kvm_tdp_mmu_spte_changed",
          "as id %d gfn %x level %d old_spte %x new_spte %x"
              .formatted(asId, gfn, level.number(), oldSpte, newSpte));
    }
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

  void pageFault(int vcpu, long address, long errorCode) {
    if (sink.isOn()) {
      sink.event(
          "kvm_page_fault",
          "vcpu %d rip 0x0 address 0x%016x error_code 0x%x".formatted(vcpu, address, errorCode));
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
