package dev.septum.lab;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.KvmBackend;
import java.util.Locale;

/** Capabilities as reports name them. */
final class CapabilityNames {

  private CapabilityNames() {}

  /** What a backend claims. */
  static ImmutableList<String> of(KvmBackend backend) {
    return backend.capabilities().stream()
        .sorted()
        .map(capability -> capability.name().toLowerCase(Locale.ROOT).replace('_', '-'))
        .collect(ImmutableList.toImmutableList());
  }
}
