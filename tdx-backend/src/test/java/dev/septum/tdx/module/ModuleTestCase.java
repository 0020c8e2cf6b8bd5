package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Kernel;
import org.junit.jupiter.api.AfterEach;

/** A module with one TD, whose invariants are checked after every test. */
abstract class ModuleTestCase {

  static final long GIB = 1L << 30;

  final Kernel kernel = Kernel.host();
  final TdxModule module;
  final TestHost host;

  ModuleTestCase() {
    this(TdxModuleConfig.defaults());
  }

  ModuleTestCase(TdxModuleConfig config) {
    module = new TdxModule(kernel, config, GIB);
    host = new TestHost(module).audited();
  }

  @AfterEach
  void invariantsHold() {
    assertThat(host.violations()).isEmpty();
  }

  static void assertStatus(long actual, long expected) {
    assertThat(TdxStatus.describe(actual)).isEqualTo(TdxStatus.describe(expected));
  }
}
