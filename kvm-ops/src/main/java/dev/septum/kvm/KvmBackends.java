package dev.septum.kvm;

import com.google.common.collect.ImmutableSortedMap;
import java.io.IOException;
import java.net.MalformedURLException;
import java.net.URI;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.CodeSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** The backends that can be loaded: those on the class path, and those in jars beside it. */
public final class KvmBackends {

  private static final Pattern NAME = Pattern.compile("[a-z0-9]+(-[a-z0-9]+)*");

  private final ImmutableSortedMap<String, KvmBackend> backends;

  private KvmBackends(Map<String, KvmBackend> backends) {
    this.backends = ImmutableSortedMap.copyOf(backends);
  }

  /** The backends on the class path. */
  public static KvmBackends onClassPath() {
    return load(KvmBackends.class.getClassLoader());
  }

  /**
   * The backends on the class path and in more places, each a jar, a directory of jars, or a
   * directory of classes.
   *
   * @throws IllegalArgumentException if a place has no backend, or one that cannot be loaded
   */
  public static KvmBackends with(List<Path> places) {
    if (places.isEmpty()) {
      return onClassPath();
    }
    List<URL> urls = new ArrayList<>();
    places.forEach(place -> urls.addAll(jarsAt(place)));
    // Open as long as the backends are: to the end of the program.
    @SuppressWarnings("resource")
    URLClassLoader loader =
        new URLClassLoader(urls.toArray(URL[]::new), KvmBackends.class.getClassLoader());
    KvmBackends all = load(loader);
    for (Path place : places) {
      if (all.backends.values().stream().noneMatch(backend -> isFrom(backend, place))) {
        throw new IllegalArgumentException(
            "%s: there is no backend in it; a jar names its own in META-INF/services/%s"
                .formatted(place, KvmBackend.class.getName()));
      }
    }
    return all;
  }

  private static List<URL> jarsAt(Path place) {
    if (!Files.exists(place)) {
      throw new IllegalArgumentException(place + ": no such file or directory");
    }
    try {
      List<URL> urls = new ArrayList<>();
      urls.add(urlOf(place));
      if (Files.isDirectory(place)) {
        try (Stream<Path> files = Files.list(place)) {
          for (Path jar : files.sorted().toList()) {
            if (jar.toString().endsWith(".jar")) {
              urls.add(urlOf(jar));
            }
          }
        }
      }
      return urls;
    } catch (IOException e) {
      throw new IllegalArgumentException(place + ": " + e.getMessage(), e);
    }
  }

  private static URL urlOf(Path path) throws MalformedURLException {
    return path.toUri().toURL();
  }

  private static KvmBackends load(ClassLoader loader) {
    Map<String, KvmBackend> found = new TreeMap<>();
    try {
      for (KvmBackend backend : ServiceLoader.load(KvmBackend.class, loader)) {
        add(found, backend);
      }
    } catch (ServiceConfigurationError | LinkageError e) {
      Throwable cause = e.getCause() == null ? e : e.getCause();
      throw new IllegalArgumentException(
          "a backend cannot be loaded: %s%s"
              .formatted(e.getMessage(), cause == e ? "" : " (" + cause + ")"),
          e);
    }
    return new KvmBackends(found);
  }

  private static void add(Map<String, KvmBackend> found, KvmBackend backend) {
    String name = backend.name();
    if (name == null || !NAME.matcher(name).matches()) {
      throw new IllegalArgumentException(
          "%s: the backend's name \"%s\" is not made of lower-case letters, digits and dashes"
              .formatted(origin(backend), name));
    }
    KvmBackend other = found.putIfAbsent(name, backend);
    if (other != null) {
      throw new IllegalArgumentException(
          "there are two backends \"%s\": %s and %s"
              .formatted(name, origin(other), origin(backend)));
    }
  }

  private static boolean isFrom(KvmBackend backend, Path place) {
    Path origin = location(backend);
    return origin != null
        && origin.toAbsolutePath().normalize().startsWith(place.toAbsolutePath().normalize());
  }

  /** Where a backend's class came from: the name of its jar or directory. */
  public static String origin(KvmBackend backend) {
    Path origin = location(backend);
    return origin == null ? backend.getClass().getName() : origin.toString();
  }

  private static @Nullable Path location(KvmBackend backend) {
    CodeSource source = backend.getClass().getProtectionDomain().getCodeSource();
    return source == null || source.getLocation() == null
        ? null
        : Path.of(URI.create(source.getLocation().toString()));
  }

  /** Every backend by its name. */
  public ImmutableSortedMap<String, KvmBackend> all() {
    return backends;
  }

  /** The backend with that name; an unknown name is refused with the names that exist. */
  public KvmBackend named(String name) {
    KvmBackend backend = backends.get(name);
    if (backend == null) {
      throw new IllegalArgumentException(
          "no backend \"%s\"; there is %s".formatted(name, String.join(", ", backends.keySet())));
    }
    return backend;
  }
}
