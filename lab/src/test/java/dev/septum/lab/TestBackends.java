package dev.septum.lab;

import com.google.common.collect.ImmutableSet;
import dev.septum.kvm.KvmBackend;
import dev.septum.lab.backend.KnownBackends;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import dev.septum.lab.scenario.ScenarioReader;
import dev.septum.tdx.TdBackend;
import dev.septum.tdx.TdxDesign;
import java.nio.file.Path;

/** Backends for tests, and scenarios that may name those that come with Septum. */
public final class TestBackends {

  private static final KnownBackends BUILT_IN = KnownBackends.builtIn();

  public static final KvmBackend SOUND = named("tdx");
  public static final KvmBackend POSTED_V3 = named("tdx-v3");
  public static final KvmBackend REFERENCE = named("reference");
  public static final KvmBackend NONE = named("none");

  private TestBackends() {}

  /** A backend that comes with Septum. */
  public static KvmBackend named(String name) {
    return BUILT_IN.named(name);
  }

  /** The names of those. */
  public static ImmutableSet<String> names() {
    return BUILT_IN.names();
  }

  /** A backend whose TDs have that design. */
  public static TdBackend of(TdxDesign design) {
    return new TdBackend() {
      @Override
      public String description() {
        return "a design under test";
      }

      @Override
      public TdxDesign design() {
        return design;
      }
    };
  }

  /** Reads a scenario that may name backends that come with Septum. */
  public static ScenarioFile read(String name, String text) throws ScenarioException {
    return ScenarioReader.read(name, text, names());
  }

  /** The same of a file. */
  public static ScenarioFile read(Path file) throws ScenarioException {
    return ScenarioReader.read(file, names());
  }
}
