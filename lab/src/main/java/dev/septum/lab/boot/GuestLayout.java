package dev.septum.lab.boot;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.PageLevel;
import dev.septum.lab.BootOptions;
import dev.septum.lab.MapGpaChunk;
import dev.septum.lab.backend.Machine;
import dev.septum.lab.bootlog.GuestMemoryMap;
import dev.septum.lab.bootlog.RamRange;
import dev.septum.lab.bootlog.Size2M;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.TdLayout.Region;

/** The TD that fits a memory map. */
public final class GuestLayout {

  private static final long SIZE_1G = 1L << 30;
  private static final long SIZE_4G = 4L << 30;
  private static final long FIRMWARE_BYTES = 4L << 20;

  /**
   * RAM of a TD with 48-bit GPAs ends here at the latest; the firmware may have to go behind it.
   */
  public static final long MAX_RAM_END = KvmTdx.SHARED_BIT - FIRMWARE_BYTES;

  private GuestLayout() {}

  static TdLayout of(GuestMemoryMap map, BootOptions options) {
    Region firmware = firmware(map);
    ImmutableList<Region> memory =
        ImmutableList.<Region>builder().addAll(slots(map)).add(firmware).build();
    boolean whole = options.mapGpaChunk() == MapGpaChunk.WHOLE;
    return new TdLayout(
        memory,
        firmware,
        options.vcpus(),
        whole ? KvmTdx.SHARED_BIT : KvmTdx.MAP_GPA_MAX_LEN,
        !options.touchFirst(),
        PageLevel.LEVEL_2M);
  }

  /** What the layout takes for granted, for the report. */
  static ImmutableList<String> assumptions(GuestMemoryMap map, BootOptions options) {
    Region firmware = firmware(map);
    return ImmutableList.of(
        "the firmware's 4 MiB at 0x%x are the measured initial memory, added at 4K"
            .formatted(firmware.start()),
        "memslots are the RAM rounded out to 2 MiB, gaps below 1 GiB included; private memory is"
            + " backed by 2M folios",
        options.touchFirst()
            ? "the guest touches each page%s and accepts it, all of it at boot"
                .formatted(Machine.designOf(options.backend()) == null ? "" : ", takes the #VE")
            : "the guest accepts all its RAM at boot, before it touches it",
        "vCPU 0 does it, as in Linux; the others are started and halt");
  }

  /** One slot for each stretch of RAM without a gap of 1 GiB, and none across 4 GiB. */
  private static ImmutableList<Region> slots(GuestMemoryMap map) {
    ImmutableList.Builder<Region> slots = ImmutableList.builder();
    long start = -1;
    long end = -1;
    for (RamRange range : map.ram()) {
      long from = Size2M.roundDown(range.startGpa());
      long to = Size2M.roundUp(range.endGpa());
      boolean joins = end >= 0 && from - end < SIZE_1G && (start >= SIZE_4G || from < SIZE_4G);
      if (!joins && end >= 0) {
        slots.add(new Region(start, end));
      }
      start = joins ? start : from;
      end = joins ? Math.max(end, to) : to;
    }
    return slots.add(new Region(start, end)).build();
  }

  /** Below 4 GiB, where TDVF is; above all RAM if the guest has RAM there. */
  private static Region firmware(GuestMemoryMap map) {
    long start = SIZE_4G - FIRMWARE_BYTES;
    boolean taken =
        slots(map).stream().anyMatch(slot -> slot.start() < SIZE_4G && slot.end() > start);
    long ramEnd = Size2M.roundUp(map.ram().get(map.ram().size() - 1).endGpa());
    long free = taken ? ramEnd : start;
    return new Region(free, free + FIRMWARE_BYTES);
  }
}
