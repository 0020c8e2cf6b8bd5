package dev.septum.lab;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.lab.boot.EmulatedBoot;
import dev.septum.lab.conform.Replay;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Backends that others wrote, in every command: good ones, and each way of going wrong. */
class ForeignBackendTest {

  private static final Path LAB = Path.of(System.getProperty("basedir", "."));

  private static final String LOG = LAB.resolve("guests/g2_tdxlinux1_ubuntu_4g.dmesg").toString();

  private static final String SPLIT =
      """
      scenario: A part of a leaf becomes shared
      backends: [mine]
      files: {ram: {size: 8M}}
      vms: {vm: {slots: [{slot: 1, gpa: 0, size: 8M, file: ram}]}}
      phases:
        - steps: [{vcpu: 0, accept: 2M+2M}]
          expect:
            - {private: {2M+2M: 2M}, nothing-else: true}
        - steps: [{set-attributes: 2M+64K, to: shared}, {vcpu: 0, write: 2M+8K}]
          expect:
            - private: {2M+64K: none, 0x210000..4M: 4K}
              shared: {2M+8K: 4K}
              growth: {split_memory_attributes: 1, split_cache: 0}
              nothing-else: true
      """;

  private static final String RACE =
      """
      scenario: Two faults
      backends: [mine]
      files: {ram: {size: 4M}}
      vms: {vm: {vcpus: 2, slots: [{slot: 1, gpa: 0, size: 4M, file: ram}]}}
      phases:
        - concurrently:
            a: [{vcpu: 0, write: 2M+4K}]
            b: [{vcpu: 1, write: 2M+4K}]
      """;

  /** Sleeps and does not mind who wakes it. */
  private static final String DEAF =
      """
      long end = System.nanoTime() + 30_000_000_000L;
      while (System.nanoTime() < end) {
        try { Thread.sleep(100); } catch (InterruptedException e) { }
      }
      """;

  @TempDir
  @SuppressWarnings("NullAway.Init")
  private Path directory;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  private int run(String... args) {
    out.getBuffer().setLength(0);
    err.getBuffer().setLength(0);
    return Septum.run(
        Septum.commandLine(new EmulatedBoot(), new Replay())
            .setOut(new PrintWriter(out, true))
            .setErr(new PrintWriter(err, true)),
        args);
  }

  /** Runs a command on the backend in a jar. */
  private int runOn(Path jar, String command, String... args) {
    List<String> all = new ArrayList<>(List.of(command, "--backend-path", jar.toString()));
    all.addAll(List.of(args));
    return run(all.toArray(String[]::new));
  }

  private String file(String text) throws IOException {
    return Files.writeString(directory.resolve("s.yaml"), text).toString();
  }

  private void assertRefused(String... words) {
    assertThat(out.toString()).isEmpty();
    assertThat(err.toString().lines().filter(line -> !line.startsWith("Try '")))
        .singleElement()
        .asString()
        .startsWith("septum: ")
        .contains(words);
  }

  private static String op(String name, String body) {
    String type = "dev.septum.kvm.Errno";
    String parameters = "Kvm kvm, long gfn, PageLevel level, long value";
    String arguments = "kvm, gfn, level, value";
    return "@Override public %s %s(%s) { %s return super.%s(%s); }"
        .formatted(type, name, parameters, body, name, arguments);
  }

  // Good ones.

  @Test
  void aForeignBackend_runsEveryCommand() throws Exception {
    Path jar = ForeignJar.withOps(directory, "mine", "");

    assertThat(runOn(jar, "run", file(SPLIT))).as(err + "" + out).isZero();
    assertThat(out.toString()).contains("backend   mine", "All held: every page is back.");
    assertThat(runOn(jar, "sweep", "--backend", "mine", file(SPLIT))).as("" + err + out).isZero();
    assertThat(out.toString()).startsWith("backend mine,").contains("nothing was found");
    assertThat(runOn(jar, "fuzz", "--backend", "mine", "--runs", "30")).as("" + out).isZero();
    assertThat(
            runOn(
                jar,
                "explore",
                "--output",
                directory.toString(),
                "--write-outcomes",
                "--schedules",
                "50",
                file(RACE)))
        .as("" + err + out)
        .isZero();
    String schedule = directory.resolve("s-outcome-1.schedule.yaml").toString();
    assertThat(runOn(jar, "replay", schedule)).as("" + err).isZero();
    assertThat(run("replay", schedule)).isEqualTo(2);
    assertRefused("no backend \"mine\"");
    String recording = LAB.resolve("recordings/01-thp2m-enable-tiny.zip").toString();
    assertThat(runOn(jar, "conform", "--backend", "mine", recording)).as("" + err).isZero();
    assertThat(runOn(jar, "boot", "--backend", "mine", LOG)).as("" + err).isZero();
    assertThat(out.toString())
        .contains("backend mine", "All held: every page is back.")
        .doesNotContain("SEAMCALL", "PAMT");
  }

  @Test
  void ordersOfOptions_makeNoDifference_andDirectoriesAreSearched() throws Exception {
    ForeignJar.withOps(directory, "mine", "");
    String path = directory.toString();

    assertThat(run("run", "--backend", "mine", file(SPLIT), "--backend-path", path)).isZero();
    assertThat(run("backends", "--backend-path", path)).isZero();
    assertThat(out.toString())
        .contains(
            """
            mine: somebody else's
              can   external-page-table, huge-leafs, shared-split
              from""")
        .contains("mine.jar")
        .contains("\n  from  built in\n");
  }

  @Test
  void backends_areListedAsJson() {
    assertThat(run("backends", "--json")).isZero();
    assertThat(out.toString())
        .contains("\"name\" : \"none\"", "\"capabilities\" : [ ]", "\"shared-split\"")
        .contains("\"origin\" : \"built in\"")
        .doesNotContain(LAB.toAbsolutePath().toString());
  }

  // Those that cannot be loaded.

  @Test
  void aJarWithoutServiceFile_isRefused() throws Exception {
    assertThat(runOn(ForeignJar.withoutService(directory), "backends")).isEqualTo(2);
    assertRefused("mine.jar: there is no backend in it", "META-INF/services/");
  }

  @Test
  void aPlaceThatIsNotThere_isRefused() {
    assertThat(run("backends", "--backend-path", "nowhere.jar")).isEqualTo(2);
    assertRefused("nowhere.jar: no such file or directory");
  }

  @Test
  void aServiceFileThatNamesNoClass_isRefused() throws Exception {
    assertThat(runOn(ForeignJar.naming(directory, "org.example.Gone"), "backends")).isEqualTo(2);
    assertRefused("a backend cannot be loaded", "org.example.Gone");
  }

  @Test
  void aConstructorThatThrows_isRefused() throws Exception {
    Path jar =
        ForeignJar.withMore(
            directory, "mine", "public Mine() { throw new IllegalStateException(\"no luck\"); }");
    assertThat(runOn(jar, "backends")).isEqualTo(2);
    assertRefused("a backend cannot be loaded", "org.example.Mine", "no luck");
  }

  @Test
  void aNameThatThrows_isRefused() throws Exception {
    Path jar = ForeignJar.withMore(directory, "\" + 1 / (hashCode() - hashCode()) + \"", "");
    assertThat(runOn(jar, "backends")).isEqualTo(2);
    assertRefused("a backend cannot be loaded", "/ by zero");
  }

  @Test
  void aNameThatIsThere_isRefused() throws Exception {
    assertThat(runOn(ForeignJar.withOps(directory, "reference", ""), "backends")).isEqualTo(2);
    assertRefused("there are two backends \"reference\"", "mine.jar");
  }

  @ParameterizedTest
  @ValueSource(strings = {"My Backend", "", "mine-", "MINE"})
  void aNameThatIsNone_isRefused(String name) throws Exception {
    assertThat(runOn(ForeignJar.withOps(directory, name, ""), "backends")).isEqualTo(2);
    assertRefused("the backend's name \"" + name + "\" is not made of lower-case letters");
  }

  @Test
  void aTimeoutThatIsNone_isRefused() {
    assertThat(run("backends", "--op-timeout", "0")).isEqualTo(2);
    assertRefused("--op-timeout 0 is not in [1, 86400]");
  }

  // Those that go wrong.

  @Test
  void anOpThatThrows_bugsTheVm() throws Exception {
    Path jar =
        ForeignJar.withOps(
            directory,
            "mine",
            op("setExternalSpte", "if (gfn < 0x1000) throw new IllegalStateException(\"oops\");"));

    assertThat(runOn(jar, "run", file(SPLIT))).isEqualTo(1);
    assertThat(out.toString())
        .contains("KVM_BUG_ON(backend mine: set_external_spte of gfn 0x200 level 2 threw")
        .contains("oops");
    assertNoStackTrace();
    assertThat(runOn(jar, "boot", "--backend", "mine", LOG)).isEqualTo(1);
    assertThat(out.toString())
        .contains("Something was found", "KVM_BUG_ON(backend mine: set_external_spte of gfn 0x1 ");
    assertNoStackTrace();
    assertThat(
            runOn(
                jar, "explore", "--schedules", "20", "--output", directory.toString(), file(RACE)))
        .isEqualTo(1);
    assertThat(out.toString()).contains("KVM_BUG_ON(backend mine: set_external_spte of gfn 0x200");
    assertNoStackTrace();
  }

  /** Frames of Java, that is; those of a splat are no sentences of the command. */
  private void assertNoStackTrace() {
    assertThat(err.toString()).doesNotContain("\tat ", "emulator stopped");
  }

  @Test
  void aVmThatIsBrokenBeforeTheScenarioBegins_isFoundAllTheSame() throws Exception {
    Path jar =
        ForeignJar.withOps(
            directory,
            "mine",
            op("linkExternalSpt", "if (gfn >= 0) throw new StackOverflowError();"));

    assertThat(runOn(jar, "run", file(SPLIT))).isEqualTo(1);
    assertThat(out.toString()).contains("KVM_BUG_ON(backend mine: link_external_spt");
    assertNoStackTrace();
  }

  @Test
  void aBackendWithoutVms_isNamed() throws Exception {
    Path jar =
        ForeignJar.withMembers(
            directory,
            "mine",
            "@Override public Kvm newVm(int id, Host host, KvmX86Ops ops, VmType type) {"
                + " return null; }");

    assertThat(runOn(jar, "run", file(SPLIT))).isEqualTo(1);
    assertRefused("backend mine: newVm returned null");
  }

  @Test
  void aTableThatThrows_isNamed() throws Exception {
    Path jar =
        ForeignJar.withMembers(
            directory,
            "mine",
            """
            @Override public Kvm newVm(int id, Host host, KvmX86Ops ops, VmType type) {
              return new Kvm(id, host, ops, type);
            }
            """);

    assertThat(runOn(jar, "run", file(SPLIT))).isEqualTo(1);
    assertRefused("backend mine: externalTable threw java.lang.ClassCastException");
  }

  @Test
  void pagesThatAreNotGivenBack_areReportedUnderTheBackendsName() throws Exception {
    Path jar =
        ForeignJar.withOps(
            directory,
            "mine",
            op("splitExternalSpte", "kvm.pages().allocPage(PageOwner.TD_CONTROL, Gfp.ATOMIC);")
                .replace("long value)", "long value, long table, LockMode mode)")
                .replace("level, value);", "level, value, table, mode);"));

    assertThat(runOn(jar, "run", file(SPLIT))).isEqualTo(1);
    assertThat(out.toString())
        .contains("in the end td_control of backend mine still has 1 page(s)")
        .contains("td_control has 1 pages, and reasons for 0");
    assertThat(runOn(jar, "boot", "--backend", "mine", LOG)).isEqualTo(1);
    assertThat(out.toString()).containsPattern("pages of td_control of backend mine did not come");
  }

  // Those that hang.

  @Test
  void anOpThatHangs_isReportedAndInterrupted() throws Exception {
    Path jar =
        ForeignJar.withOps(
            directory,
            "mine",
            op(
                "setExternalSpte",
                "if (gfn == 0x200) try { Thread.sleep(60_000); } catch (InterruptedException e) {"
                    + " return Errno.EBUSY; }"));

    assertThat(runOn(jar, "run", "--op-timeout", "1", file(SPLIT))).isEqualTo(1);
    assertThat(err.toString())
        .startsWith(
            "septum: backend mine: set_external_spte of gfn 0x200 level 2 has not returned for"
                + " 1 s\n")
        .contains("\nThread septum is interrupted at\n", "Mine$1.setExternalSpte+");
    assertNoStackTrace();
    assertThat(out.toString())
        .contains(
            "KVM_BUG_ON(backend mine: set_external_spte of gfn 0x200 level 2 has not returned for"
                + " 1 s)");
  }

  @Test
  void anOpThatHangsForGood_endsTheCommand() throws Exception {
    Path jar = ForeignJar.withOps(directory, "mine", op("linkExternalSpt", DEAF));

    assertThat(runOn(jar, "run", "--op-timeout", "1", file(SPLIT))).isEqualTo(1);
    assertThat(err.toString())
        .startsWith("septum: backend mine: link_external_spt of gfn ")
        .contains(" does not return although its thread was interrupted\n");
    assertThat(out.toString()).isEmpty();
  }

  @Test
  void anOpThatHangsInASchedule_isAFinding() throws Exception {
    Path jar =
        ForeignJar.withOps(
            directory,
            "mine",
            "static int calls; "
                + op(
                    "setExternalSpte",
                    "if (gfn == 0x200) { try { if (calls++ == 0) Thread.sleep(60_000); }"
                        + " catch (InterruptedException e) { }"
                        + " throw new IllegalStateException(); }"));

    assertThat(
            runOn(
                jar,
                "explore",
                "--op-timeout",
                "1",
                "--stop-at-first",
                "--schedules",
                "2",
                "--workers",
                "1",
                "--output",
                directory.toString(),
                file(RACE.replaceFirst(" +b: .*\n", ""))))
        .isEqualTo(1);
    assertThat(err.toString())
        .contains("septum: backend mine: set_external_spte of gfn 0x200 level 2 has not returned");
    assertThat(out.toString())
        .contains("KVM_BUG_ON(backend mine: set_external_spte of gfn 0x200 level 2 has not");
  }

  @Test
  void aVmThatHangsInTheMaking_endsTheCommand() throws Exception {
    Path jar =
        ForeignJar.withMembers(
            directory,
            "mine",
            """
            @Override public Kvm newVm(int id, Host host, KvmX86Ops ops, VmType type) {
              try { Thread.sleep(60_000); } catch (InterruptedException e) { }
              return new ReferenceVm(id, host, ops, type);
            }
            """);

    assertThat(runOn(jar, "run", "--op-timeout", "1", file(SPLIT))).isEqualTo(1);
    assertThat(err.toString())
        .startsWith("septum: backend mine: newVm has not returned for 1 s\n")
        .endsWith("septum: backend mine: newVm has not returned for 1 s\n");
  }

  @Test
  void aTableThatShowsNothing_endsNoCommandInALoop() throws Exception {
    Path jar =
        ForeignJar.withOps(
            directory, "mine", op("setExternalSpte", "if (gfn < 0x100000) return Errno.OK;"));

    assertThat(runOn(jar, "run", file(SPLIT))).isEqualTo(1);
    assertThat(out.toString())
        .contains("endless-retry, expected was OK", "external page table of backend mine lacks");
    assertThat(runOn(jar, "boot", "--backend", "mine", LOG)).isEqualTo(1);
    assertThat(out.toString()).contains("the guest faults for ever");
  }

  // The kit.

  @Test
  void theKit_judgesAForeignBackend() throws Exception {
    Path jar = ForeignJar.withOps(directory, "mine", "");

    assertThat(runOn(jar, "verify-backend", "mine", "--rule", "CALL.1,SPLIT")).isZero();
    assertThat(out.toString())
        .startsWith("backend  mine (" + jar + "): somebody else's\n")
        .contains("SPLIT.2  passed     a split keeps every translation\n")
        .contains("SPLIT.5  skipped    a refused split changes nothing\n")
        .contains(
            "there is no way to have a split refused: KvmBackend.refuseNextSplit() is false\n")
        .endsWith("All held: the backend keeps every rule on what it claims.\n");
  }

  @Test
  void theKit_namesTheRuleThatAForeignBackendBreaks() throws Exception {
    Path jar =
        ForeignJar.withOps(
            directory, "mine", op("setExternalSpte", "kvm.mmuLock().unlock(LockMode.SHARED);"));

    assertThat(runOn(jar, "verify-backend", "mine", "--rule", "CALL.4,TABLE.2")).isEqualTo(1);
    assertThat(out.toString())
        .contains("CALL.4   FAILED     every op leaves locks as it found them\n")
        .contains("KVM_BUG_ON(backend reference: set_external_spte of gfn 0x")
        .contains("TABLE.2  not judged a mapped leaf leads to its page\n");
    assertNoStackTrace();
  }

  @Test
  void theKit_goesOnAfterAnOpThatHangs() throws Exception {
    Path jar = ForeignJar.withOps(directory, "mine", op("linkExternalSpt", DEAF));

    assertThat(
            runOn(
                jar,
                "verify-backend",
                "mine",
                "--rule",
                "CALL.2,CAP.8,END.1",
                "--rule-timeout",
                "1"))
        .isEqualTo(1);
    assertThat(out.toString())
        .contains("CALL.2   FAILED     every op returns\n")
        .contains("backend reference: link_external_spt does not return\n")
        .contains("CAP.8    ")
        .contains("END.1    not judged every page comes back\n");
  }

  @Test
  void aConstructorThatHangs_endsTheKitToo() throws Exception {
    Path jar = ForeignJar.withMore(directory, "mine", "public Mine() { %s }".formatted(DEAF));

    assertThat(runOn(jar, "verify-backend", "mine", "--op-timeout", "1")).isNotZero();
    assertThat(err.toString()).contains("its constructor has not returned for 1 s");
    assertNoStackTrace();
  }

  @Test
  void whatIsFound_canBeRepeatedByTheCommandThatIsPrinted() throws Exception {
    Path jar =
        ForeignJar.withOps(
            directory,
            "mine",
            op("splitExternalSpte", "kvm.pages().allocPage(PageOwner.TD_CONTROL, Gfp.ATOMIC);")
                .replace("long value)", "long value, long table, LockMode mode)")
                .replace("level, value);", "level, value, table, mode);"));

    assertThat(runOn(jar, "sweep", "--backend", "mine", "--pairs", "0", file(SPLIT))).isEqualTo(1);
    assertThat(out.toString())
        .contains("septum sweep --backend mine --backend-path " + jar + " --plan ");
  }
}
