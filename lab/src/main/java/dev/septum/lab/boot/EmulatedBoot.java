package dev.septum.lab.boot;

import dev.septum.lab.BootOptions;
import dev.septum.lab.GuestBoot;
import dev.septum.lab.Progress;
import dev.septum.lab.backend.Machine;
import dev.septum.lab.bootlog.GuestMemoryMap;
import dev.septum.lab.report.BootReport;

/** Boots a guest on the backend that is asked for: as a TD where its VMs are TDs. */
public final class EmulatedBoot implements GuestBoot {

  private final GuestBoot asTd = new TdBoot();
  private final GuestBoot asVm = new BackendBoot();

  @Override
  public BootReport boot(GuestMemoryMap map, BootOptions options, Progress progress) {
    boolean isTd = Machine.designOf(options.backend()) != null;
    return (isTd ? asTd : asVm).boot(map, options, progress);
  }
}
