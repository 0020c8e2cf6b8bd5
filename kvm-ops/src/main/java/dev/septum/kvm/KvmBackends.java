package dev.septum.kvm;

import com.google.common.collect.ImmutableSortedMap;
import java.util.ServiceLoader;

/** The backends on the class path. */
public final class KvmBackends {

  private KvmBackends() {}

  /** Every backend by its name. */
  public static ImmutableSortedMap<String, KvmBackend> all() {
    ImmutableSortedMap.Builder<String, KvmBackend> found = ImmutableSortedMap.naturalOrder();
    ServiceLoader.load(KvmBackend.class).forEach(backend -> found.put(backend.name(), backend));
    return found.buildOrThrow();
  }

  /** The backend with that name; an unknown name is refused with the names that exist. */
  public static KvmBackend named(String name) {
    ImmutableSortedMap<String, KvmBackend> backends = all();
    KvmBackend backend = backends.get(name);
    if (backend == null) {
      throw new IllegalArgumentException(
          "no backend \"%s\"; there is %s".formatted(name, String.join(", ", backends.keySet())));
    }
    return backend;
  }
}
