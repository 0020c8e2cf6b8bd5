package dev.septum.lab;

import static java.nio.charset.StandardCharsets.UTF_8;

import dev.septum.kvm.KvmBackend;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.stream.Stream;
import javax.tools.ToolProvider;

/** A jar with a backend that somebody else wrote: the reference with something of its own. */
final class ForeignJar {

  private static final String SERVICE = "META-INF/services/" + KvmBackend.class.getName();

  private static final String SOURCE =
      """
      package org.example;

      import dev.septum.kernel.*;
      import dev.septum.kvm.*;
      import dev.septum.kvm.reference.*;
      import java.util.Set;

      public final class Mine implements KvmBackend {
        @Override public String name() { return "%1$s"; }
        @Override public String description() { return "somebody else's"; }
        @Override public Set<Capability> capabilities() {
          return Set.of(
              Capability.EXTERNAL_PAGE_TABLE, Capability.HUGE_LEAFS, Capability.SHARED_SPLIT);
        }
        @Override public Vcpu newVcpu(Kvm kvm, int id) { return new ReferenceVcpu(kvm, id); }
        @Override public ExternalTable externalTable(Kvm kvm) {
          return ((ReferenceVm) kvm).table();
        }
        %2$s
        @Override public KvmX86Ops hardwareSetup(Host host) { return new ReferenceOps() { %3$s }; }
      }
      """;

  private static final String NEW_VM =
      """
      @Override public Kvm newVm(int id, Host host, KvmX86Ops ops, VmType type) {
        return new ReferenceVm(id, host, ops, type);
      }
      """;

  private ForeignJar() {}

  /** A backend of that name whose ops have a body of their own. */
  static Path withOps(Path directory, String name, String ops) throws IOException {
    return of(directory, SERVICE, "org.example.Mine", SOURCE.formatted(name, NEW_VM, ops));
  }

  /** The same with members beside the ops; these have {@code newVm} among them. */
  static Path withMembers(Path directory, String name, String members) throws IOException {
    return of(directory, SERVICE, "org.example.Mine", SOURCE.formatted(name, members, ""));
  }

  /** The same with {@code newVm} as it is. */
  static Path withMore(Path directory, String name, String members) throws IOException {
    return withMembers(directory, name, NEW_VM + members);
  }

  /** A backend that is named to nobody. */
  static Path withoutService(Path directory) throws IOException {
    return of(directory, "README", "nothing", SOURCE.formatted("mine", NEW_VM, ""));
  }

  /** A jar that names another class. */
  static Path naming(Path directory, String type) throws IOException {
    return of(directory, SERVICE, type, SOURCE.formatted("mine", NEW_VM, ""));
  }

  private static Path of(Path directory, String entry, String text, String source)
      throws IOException {
    Path classes = Files.createDirectories(directory.resolve("classes"));
    Path file = directory.resolve("Mine.java");
    Files.writeString(file, source, UTF_8);
    String api =
        Path.of(KvmBackend.class.getProtectionDomain().getCodeSource().getLocation().getPath())
            .toString();
    int failed =
        ToolProvider.getSystemJavaCompiler()
            .run(
                null,
                null,
                null,
                List.of(
                        "-nowarn",
                        "-proc:none",
                        "-cp",
                        api,
                        "-d",
                        classes.toString(),
                        file.toString())
                    .toArray(String[]::new));
    if (failed != 0) {
      throw new IllegalArgumentException("the source is wrong");
    }
    Path jar = directory.resolve("mine.jar");
    try (OutputStream out = Files.newOutputStream(jar);
        JarOutputStream zip = new JarOutputStream(out);
        Stream<Path> all = Files.walk(classes)) {
      zip.putNextEntry(new JarEntry(entry));
      zip.write(text.getBytes(UTF_8));
      for (Path type : all.filter(Files::isRegularFile).toList()) {
        zip.putNextEntry(new JarEntry(classes.relativize(type).toString().replace('\\', '/')));
        zip.write(Files.readAllBytes(type));
      }
    }
    return jar;
  }
}
