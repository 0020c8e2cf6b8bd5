package dev.septum.it.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.it.selftest.SelftestVm.SelftestVcpu;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.MemoryRegion;
import java.util.BitSet;
import java.util.Map;
import java.util.TreeMap;

/**
 * A software-protected VM whose memory becomes private and shared, and beside it what that memory
 * must be: one bit for each of its frames.
 */
final class ConvertibleVm {

  static final int SLOT = 10;
  static final long GPA = 0x1_0000_0000L;

  /** Bytes from the start of the data on. */
  record Range(long offset, long bytes) {
    long gpa() {
      return GPA + offset;
    }

    int firstFrame() {
      return (int) (offset >>> 12);
    }

    int endFrame() {
      return (int) ((offset + bytes) >>> 12);
    }

    int frames() {
      return endFrame() - firstFrame();
    }
  }

  /** Frames that one leaf maps. */
  private record Span(int first, int end) {
    int pages() {
      return end - first;
    }
  }

  private final SelftestVm vm;
  private final PageLevel backing;
  private final GuestMemfd file;
  private final MemoryRegion region;
  private final SelftestVcpu vcpu;
  private final BitSet isPrivate = new BitSet();
  private final BitSet isMapped = new BitSet();
  private boolean fallocates;

  /** All of the memory is shared and nothing is mapped; host pages are of that size. */
  ConvertibleVm(SelftestVm vm, long bytes, PageLevel backing) {
    this.vm = vm;
    this.backing = backing;
    this.file = vm.createFile(bytes);
    this.region = vm.addSlot(SLOT, GPA, bytes, backing, file);
    this.vcpu = vm.withCode().addVcpu();
  }

  GuestMemfd file() {
    return file;
  }

  /** The guest accesses every page of the range. */
  void touch(Range range) {
    for (long at = range.gpa(); at < range.gpa() + range.bytes; at += 4096) {
      vcpu.must(AccessKind.WRITE, at);
    }
    for (int frame = range.firstFrame(); frame < range.endFrame(); frame++) {
      Span span = spanOf(frame);
      isMapped.set(span.first, span.end);
    }
  }

  /** {@code fallocate}: pages where memory is to be private, a hole where it is to be shared. */
  ConvertibleVm withFallocate() {
    fallocates = true;
    return this;
  }

  void makePrivate(Range range) {
    if (fallocates) {
      allocate(range);
    }
    if (privateFramesOf(range) < range.frames()) {
      unmap(range);
    }
    vm.makePrivate(range.gpa(), range.bytes);
    isPrivate.set(range.firstFrame(), range.endFrame());
  }

  void makeShared(Range range) {
    if (fallocates) {
      punch(range);
    }
    if (privateFramesOf(range) > 0) {
      unmap(range);
    }
    vm.makeShared(range.gpa(), range.bytes);
    isPrivate.clear(range.firstFrame(), range.endFrame());
  }

  private int privateFramesOf(Range range) {
    return isPrivate.get(range.firstFrame(), range.endFrame()).cardinality();
  }

  void allocate(Range range) {
    for (int frame = range.firstFrame(); frame < range.endFrame(); frame++) {
      assertThat(file.allocate(frame)).isEqualTo(Errno.OK);
    }
  }

  void punch(Range range) {
    assertThat(file.punchHole(range.firstFrame(), range.endFrame())).isEqualTo(Errno.OK);
    unmap(range);
  }

  /** A leaf that sticks out of the range goes whole. */
  private void unmap(Range range) {
    for (int frame = range.firstFrame(); frame < range.endFrame(); frame++) {
      if (isMapped.get(frame)) {
        Span span = spanOf(frame);
        isMapped.clear(span.first, span.end);
      }
    }
  }

  /** A leaf is large if all of it is shared and the host has a large page. */
  private Span spanOf(long frame) {
    int chunk = (int) (frame & -512);
    boolean small = backing == PageLevel.LEVEL_4K || isMixed(chunk) || isPrivate.get(chunk);
    return small ? new Span((int) frame, (int) frame + 1) : new Span(chunk, chunk + 512);
  }

  private boolean isMixed(int chunk) {
    int privates = isPrivate.get(chunk, chunk + 512).cardinality();
    return privates != 0 && privates != 512;
  }

  /** All that is mapped, and the flags of both large pages, are as they must be. */
  void check() {
    Map<Long, Long> actual = new TreeMap<>();
    for (MappedLeaf leaf : vm.leafs(GPA, region.pages() << 12)) {
      for (long i = 0; i < leaf.level().pages(); i++) {
        actual.put(leaf.gfn() + i, leaf.pfn() + i);
      }
      assertThat(spanOf(leaf.gfn() - region.baseGfn()).pages()).isEqualTo(leaf.level().pages());
    }
    Map<Long, Long> expected = new TreeMap<>();
    isMapped.stream().forEach(frame -> expected.put(region.baseGfn() + frame, pfn(frame)));
    assertThat(actual).isEqualTo(expected);
    for (int chunk = 0; chunk < region.pages(); chunk += 512) {
      assertThat(vm.view().isMixed(vm.slot(SLOT), region.baseGfn() + chunk, PageLevel.LEVEL_2M))
          .as("MIXED at frame %d", chunk)
          .isEqualTo(isMixed(chunk));
    }
  }

  private long pfn(long frame) {
    return isPrivate.get((int) frame)
        ? file.pfnAt(frame)
        : vm.user().pfn(region.hva() + (frame << 12));
  }
}
