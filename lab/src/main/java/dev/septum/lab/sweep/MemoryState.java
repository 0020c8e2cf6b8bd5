package dev.septum.lab.sweep;

import com.google.common.primitives.ImmutableLongArray;
import dev.septum.kernel.PageAllocator;
import dev.septum.lab.run.EmulatedVm;
import dev.septum.lab.run.ScenarioHost;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.Memslot;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;

/** What a host's guests and files have of their memory. */
record MemoryState(Map<String, ImmutableLongArray> parts) {

  /**
   * Frame by frame: which host page each one is mapped to, whether it is accepted, private, and in
   * its file. Levels do not count, so that a split changes nothing.
   */
  static MemoryState byFrame(ScenarioHost host) {
    return of(host, Detail.FRAMES);
  }

  /** Leaf by leaf, whatever the host pages are. */
  static MemoryState byLeaf(ScenarioHost host) {
    return of(host, Detail.LEAFS);
  }

  /** What the guests can see: frame by frame, whatever the host pages, levels and folios are. */
  static MemoryState byGuestFrame(ScenarioHost host) {
    return of(host, Detail.GUEST_FRAMES);
  }

  private enum Detail {
    FRAMES,
    LEAFS,
    GUEST_FRAMES
  }

  private static MemoryState of(ScenarioHost host, Detail detail) {
    Map<String, ImmutableLongArray> parts = new TreeMap<>();
    for (EmulatedVm vm : host.livingVms()) {
      parts.put("shared memory of " + vm.name(), leafs(vm, detail));
      parts.put("attributes of " + vm.name(), attributes(vm));
      if (vm.hasExternalTable()) {
        parts.put("private memory of " + vm.name(), externalLeafs(vm, detail));
      }
    }
    if (detail != Detail.GUEST_FRAMES) {
      host.fileNames().forEach(name -> parts.put("file " + name, pages(host.file(name), detail)));
    }
    return new MemoryState(parts);
  }

  private static ImmutableLongArray leafs(EmulatedVm vm, Detail detail) {
    ImmutableLongArray.Builder all = ImmutableLongArray.builder();
    for (MappedLeaf leaf : vm.view().directLeafs()) {
      add(all, leaf.gfn(), leaf.pfn(), leaf.level().pages(), 0, detail);
    }
    return all.build();
  }

  private static ImmutableLongArray externalLeafs(EmulatedVm vm, Detail detail) {
    ImmutableLongArray.Builder all = ImmutableLongArray.builder();
    for (EmulatedVm.ExternalLeaf leaf : vm.externalLeafs()) {
      add(all, leaf.gfn(), leaf.pfn(), leaf.level().pages(), leaf.state().ordinal(), detail);
    }
    return all.build();
  }

  private static void add(
      ImmutableLongArray.Builder all, long gfn, long pfn, long pages, int state, Detail detail) {
    if (detail == Detail.LEAFS) {
      all.add(gfn).add(pages).add(state);
      return;
    }
    for (long i = 0; i < pages; i++) {
      all.add(gfn + i).add(detail == Detail.FRAMES ? pfn + i : 0).add(state);
    }
  }

  private static ImmutableLongArray attributes(EmulatedVm vm) {
    ImmutableLongArray.Builder all = ImmutableLongArray.builder();
    for (Memslot slot : vm.mmu().memslots().all()) {
      for (long gfn = slot.gfns().start(); gfn < slot.gfns().end(); gfn++) {
        all.add(vm.view().isPrivate(gfn) ? gfn : -gfn);
      }
    }
    return all.build();
  }

  private static ImmutableLongArray pages(GuestMemfd file, Detail detail) {
    ImmutableLongArray.Builder all = ImmutableLongArray.builder();
    for (long index = 0; index < file.frames(); index++) {
      long pfn = file.pfnAt(index);
      all.add(detail == Detail.FRAMES || pfn == PageAllocator.NO_PAGE ? pfn : 0);
    }
    return all.build();
  }

  /** What differs, in words; empty if nothing does. */
  String differenceTo(MemoryState other) {
    return String.join(
        ", ",
        parts.keySet().stream()
            .filter(part -> !Objects.equals(parts.get(part), other.parts.get(part)))
            .toList());
  }
}
