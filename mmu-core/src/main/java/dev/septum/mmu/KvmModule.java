package dev.septum.mmu;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.Mutex;
import dev.septum.kernel.SharedWord;
import dev.septum.kvm.Errno;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * The kvm module of one host: its parameters, and the VMs that they hold for ({@code vm_list}).
 *
 * <p>Parameters are written through {@link #setParameter} as through {@code
 * /sys/module/kvm/parameters}, and read without a lock.
 */
public final class KvmModule {

  /** The parameters that can be written while VMs run. */
  private enum Parameter {
    EAGER_PAGE_SPLIT,
    NX_HUGE_PAGES,
    NX_HUGE_PAGES_RECOVERY_RATIO,
    NX_HUGE_PAGES_RECOVERY_PERIOD_MS;

    static Optional<Parameter> named(String name) {
      for (Parameter parameter : values()) {
        if (parameter.name().toLowerCase(Locale.ROOT).equals(name)) {
          return Optional.of(parameter);
        }
      }
      return Optional.empty();
    }
  }

  private static final long HOUR_MS = 3_600_000;
  private static final long MAX_UINT = (1L << 32) - 1;

  private final KernelGeneration generation;
  private final Mutex kvmLock;
  private final SharedWord eagerPageSplit;
  private final SharedWord nxHugePages;

  /** 1 once {@code nx_huge_pages} was set to "never": nothing of NX can be written any more. */
  private final SharedWord nxNever;

  private final SharedWord recoveryRatio;
  private final SharedWord recoveryPeriodMs;

  /** Under kvm_lock. */
  private final List<KvmMmu> vms = new ArrayList<>();

  /** A module with the parameters that a kernel starts with, on a CPU without the NX bug. */
  public KvmModule(Kernel kernel, KernelGeneration generation) {
    this.generation = generation;
    this.kvmLock = kernel.mutex(LockClass.KVM_LOCK);
    this.eagerPageSplit = kernel.word(1).named("eager_page_split");
    this.nxHugePages = kernel.word(0).named("nx_huge_pages");
    this.nxNever = kernel.word(0).named("nx_hugepage_mitigation_hard_disabled");
    this.recoveryRatio = kernel.word(60).named("nx_huge_pages_recovery_ratio");
    this.recoveryPeriodMs = kernel.word(0).named("nx_huge_pages_recovery_period_ms");
  }

  /** The kernel that is modelled. */
  public KernelGeneration generation() {
    return generation;
  }

  /**
   * Writes a parameter as the kernel parses it; a change of {@code nx_huge_pages} zaps the roots of
   * every VM. No lock held.
   *
   * @return ENOENT for an unknown parameter, EINVAL for a value that it does not take, EBUSY for
   *     "never" while there are VMs, EPERM for what concerns NX huge pages after "never"
   */
  public Errno setParameter(String name, String value) {
    Optional<Parameter> parameter = Parameter.named(name);
    if (parameter.isEmpty()) {
      return Errno.ENOENT;
    }
    if (parameter.get() != Parameter.EAGER_PAGE_SPLIT && nxNever.get() == 1) {
      return Errno.EPERM;
    }
    return switch (parameter.get()) {
      case EAGER_PAGE_SPLIT -> setFlag(eagerPageSplit, value);
      case NX_HUGE_PAGES -> setNxHugePages(value);
      case NX_HUGE_PAGES_RECOVERY_RATIO -> setNumber(recoveryRatio, value);
      case NX_HUGE_PAGES_RECOVERY_PERIOD_MS -> setNumber(recoveryPeriodMs, value);
    };
  }

  /** A parameter's value as the kernel prints it; empty if there is none of that name. */
  public Optional<String> parameter(String name) {
    return Parameter.named(name)
        .map(
            parameter ->
                switch (parameter) {
                  case EAGER_PAGE_SPLIT -> flagText(eagerPageSplit);
                  case NX_HUGE_PAGES -> nxNever.get() == 1 ? "never" : flagText(nxHugePages);
                  case NX_HUGE_PAGES_RECOVERY_RATIO -> Long.toString(recoveryRatio.get());
                  case NX_HUGE_PAGES_RECOVERY_PERIOD_MS -> Long.toString(recoveryPeriodMs.get());
                });
  }

  /** Whether huge pages are split when dirty logging starts, not when they are written. */
  boolean isEagerPageSplit() {
    return eagerPageSplit.get() == 1;
  }

  /** Whether huge pages are mapped non-executable. */
  boolean isNxHugePages() {
    return nxHugePages.get() == 1;
  }

  /** The share of NX splits undone in one period, as its denominator; 0 for none. */
  long nxRecoveryRatio() {
    return recoveryRatio.get();
  }

  /**
   * Milliseconds between two runs of the recovery worker; 0 if it does not run ({@code
   * calc_nx_huge_pages_recovery_period}).
   */
  public long nxRecoveryPeriodMs() {
    long ratio = recoveryRatio.get();
    if (!isNxHugePages() || ratio == 0) {
      return 0;
    }
    long period = recoveryPeriodMs.get();
    return period == 0 ? HOUR_MS / Math.min(ratio, 3600) : period;
  }

  /** One period of every VM's recovery worker ({@code kvm_recover_nx_huge_pages}). */
  public void recoverNxHugePages() {
    for (KvmMmu vm : vms()) {
      vm.nxHugePages().recover();
    }
  }

  void add(KvmMmu vm) {
    kvmLock.lock();
    try {
      vms.add(vm);
    } finally {
      kvmLock.unlock();
    }
  }

  void remove(KvmMmu vm) {
    kvmLock.lock();
    try {
      vms.remove(vm);
    } finally {
      kvmLock.unlock();
    }
  }

  private List<KvmMmu> vms() {
    kvmLock.lock();
    try {
      return List.copyOf(vms);
    } finally {
      kvmLock.unlock();
    }
  }

  private static Errno setFlag(SharedWord flag, String value) {
    Optional<Boolean> parsed = flag(value);
    parsed.ifPresent(on -> flag.set(on ? 1 : 0));
    return parsed.isPresent() ? Errno.OK : Errno.EINVAL;
  }

  private Errno setNxHugePages(String value) {
    if (value.equals("never")) {
      return vms().isEmpty() ? never() : Errno.EBUSY;
    }
    Optional<Boolean> on =
        switch (value) {
          case "off", "auto" -> Optional.of(false);
          case "force" -> Optional.of(true);
          default -> flag(value);
        };
    on.ifPresent(this::setNxHugePages);
    return on.isPresent() ? Errno.OK : Errno.EINVAL;
  }

  private Errno never() {
    nxNever.set(1);
    setNxHugePages(false);
    return Errno.OK;
  }

  private void setNxHugePages(boolean on) {
    if (on == isNxHugePages()) {
      return;
    }
    nxHugePages.set(on ? 1 : 0);
    for (KvmMmu vm : vms()) {
      vm.withSlotsLock(
          () -> {
            vm.zapAllFast();
            return Errno.OK;
          });
    }
  }

  private static Errno setNumber(SharedWord number, String value) {
    try {
      long parsed = Long.decode(value);
      if (parsed < 0 || parsed > MAX_UINT) {
        return Errno.EINVAL;
      }
      number.set(parsed);
      return Errno.OK;
    } catch (NumberFormatException e) {
      return Errno.EINVAL;
    }
  }

  /** {@code kstrtobool}: the first letter decides, of "on" and "off" the second. */
  private static Optional<Boolean> flag(String value) {
    if (value.matches("[yYtT1].*|[oO][nN].*")) {
      return Optional.of(true);
    }
    return value.matches("[nNfF0].*|[oO][fF].*") ? Optional.of(false) : Optional.empty();
  }

  private static String flagText(SharedWord flag) {
    return flag.get() == 1 ? "Y" : "N";
  }
}
