package dev.septum.lab;

import dev.septum.kvm.Capability;
import dev.septum.kvm.KvmBackend;
import dev.septum.lab.backend.KnownBackends;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Which backend a command runs on. */
final class BackendOptions extends BackendPath {

  @Option(
      names = "--backend",
      paramLabel = "NAME",
      description =
          "Run on this backend; septum backends lists them (default: what a scenario or a schedule"
              + " names; none for recordings; else tdx).")
  private @Nullable String name;

  /** The backends that there are; the one that was asked for is among them. */
  @Override
  KnownBackends known() {
    KnownBackends known = super.known();
    if (name != null) {
      named(known, name);
    }
    return known;
  }

  /** The same, which must have an external page table for the private memory of guests. */
  KvmBackend withPrivateMemoryOr(String otherwise) {
    KvmBackend backend = chosenOr(otherwise);
    if (!backend.capabilities().contains(Capability.EXTERNAL_PAGE_TABLE)) {
      throw usage(
          "backend %s has no external page table, which a guest's private memory needs"
              .formatted(backend.name()));
    }
    return backend;
  }

  private KvmBackend named(KnownBackends known, String itsName) {
    try {
      return known.named(itsName);
    } catch (IllegalArgumentException e) {
      throw usage(String.valueOf(e.getMessage()));
    }
  }

  /** The name that was given, or null. */
  @Nullable String name() {
    return name;
  }

  /** The backend that was asked for, else the one of that name. */
  KvmBackend chosenOr(String otherwise) {
    return named(known(), name == null ? otherwise : name);
  }
}
