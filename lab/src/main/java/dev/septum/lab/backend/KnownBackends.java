package dev.septum.lab.backend;

import com.google.common.collect.ImmutableSet;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmBackends;
import java.nio.file.Path;
import java.util.List;
import java.util.function.UnaryOperator;

/** The backends that a command can run on; those that do not come with Septum are kept in check. */
public final class KnownBackends {

  private final KvmBackends all;
  private final UnaryOperator<KvmBackend> keeper;

  private KnownBackends(KvmBackends all, UnaryOperator<KvmBackend> keeper) {
    this.all = all;
    this.keeper = keeper;
  }

  /** Those that come with Septum. */
  public static KnownBackends builtIn() {
    return new KnownBackends(KvmBackends.onClassPath(), UnaryOperator.identity());
  }

  /**
   * Those, and what is in more places: jars and directories. The others are watched.
   *
   * @throws IllegalArgumentException if a place has no backend, or one that cannot be loaded
   */
  public static KnownBackends with(List<Path> places, OpWatch watch) {
    BackendCall loading = new BackendCall("of --backend-path", null, "its constructor");
    try {
      KvmBackends all = watch.call(loading, () -> KvmBackends.with(places));
      return new KnownBackends(all, backend -> new ForeignBackend(backend, watch));
    } catch (IllegalArgumentException | BackendException e) {
      throw e;
    } catch (RuntimeException | LinkageError | StackOverflowError | AssertionError e) {
      throw new IllegalArgumentException("a backend cannot be loaded: " + e, e);
    }
  }

  /** Their names. */
  public ImmutableSet<String> names() {
    return all.all().keySet();
  }

  /** The backend with that name; an unknown name is refused with the names that exist. */
  public KvmBackend named(String name) {
    KvmBackend backend = all.named(name);
    return isBuiltIn(backend) || Machine.designOf(backend) != null
        ? backend
        : keeper.apply(backend);
  }

  /** The same as it is, for who keeps it in check himself. */
  public KvmBackend unwatched(String name) {
    return all.named(name);
  }

  /** Where a backend came from: the name of its jar or directory. */
  public String origin(String name) {
    KvmBackend backend = all.named(name);
    return isBuiltIn(backend) ? "built in" : KvmBackends.origin(backend);
  }

  /** Whether it comes with Septum: then its classes were loaded as Septum's own. */
  private static boolean isBuiltIn(KvmBackend backend) {
    return backend.getClass().getClassLoader() == KvmBackends.class.getClassLoader();
  }
}
