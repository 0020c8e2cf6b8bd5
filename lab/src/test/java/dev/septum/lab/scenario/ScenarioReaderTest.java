package dev.septum.lab.scenario;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.lab.TestBackends;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is no scenario is refused with one line: file, line, key, reason. */
class ScenarioReaderTest {

  private static final String VM = "vms: {vm: {type: default}}\n";

  private static final String KEYS_OF_FILE = "about, backends, files, host, phases, scenario, vms";

  @TempDir Path dir;

  private static void assertRefused(String text, String message) {
    assertThatThrownBy(() -> TestBackends.read("s.yaml", text))
        .isInstanceOf(ScenarioException.class)
        .hasMessage("s.yaml:" + message);
  }

  /** A file whose second phase has this step on line 5. */
  private static String withStep(String step) {
    return "scenario: x\n" + VM + "phases:\n  - steps:\n      - " + step + "\n";
  }

  @Test
  void notAMapping_isNoScenario() {
    assertRefused("", "1: the file is empty");
    assertRefused("# nothing\n\n", "1: the file is empty");
    for (String text : new String[] {"hello", "- a\n- b\n", "[]", "1"}) {
      assertRefused(text, "1: the file: a mapping is expected here, with keys of " + KEYS_OF_FILE);
    }
  }

  @Test
  void neededKeys_areAskedFor() {
    assertRefused("scenario: x\n", "2: vms: the key vms is missing");
    assertRefused(
        "scenario: x\n" + VM + "phases: [{steps: [{add-slot: {slot: 1}}]}]\n",
        "3: phases[0].steps[0].add-slot[0].gpa: the key gpa is missing");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "scenario: | 1: scenario: a value is missing",
        "scenario: ~ | 1: scenario: a value is missing",
        "scenario: '' | 1: scenario: a value is missing",
        "vms: {vm: } | 1: vms.vm: a value is missing",
        "phases: [null] | 1: phases[0]: a value is missing",
        "a: &a [x, x] | 1: a: anchors and aliases (&name, *name) are not read; write the value"
            + " out",
        "a: *a | 1: a: anchors and aliases (&name, *name) are not read; write the value out",
        "vms: {vm: {<<: {vcpus: 1}}} | 1: vms.vm.<<: merges (<<) are not read; write the keys"
            + " out",
        "'a: b: c' | 1: no YAML: mapping values are not allowed here",
        "'a: [b' | 1: no YAML: expected ',' or ']', but got <stream end>",
        "'a: \"b' | 1: no YAML: found unexpected end of stream",
      })
  void whatYamlHas_andScenariosHaveNot(String text, String message) {
    // A quoted value stands for the text in it.
    String yaml = text.startsWith("'") ? text.substring(1, text.length() - 1) : text;
    assertRefused(yaml, message);
  }

  @Test
  void tabsDuplicatesAndSecondDocuments() {
    assertRefused(
        "scenario: x\nvms:\n\tvm: {}\n",
        "3: no YAML: found character '\\t(TAB)' that cannot start any token. (Do not use \\t(TAB)"
            + " for indentation)");
    assertRefused("scenario: x\nscenario: y\n", "2: no YAML: Duplicate field 'scenario'");
    assertThatThrownBy(
            () ->
                TestBackends.read(
                    "s.yaml", "scenario: x\n" + VM + "phases: [{steps: []}]\n---\na: b\n"))
        .isInstanceOf(ScenarioException.class)
        .hasMessageStartingWith("s.yaml:");
  }

  @Test
  void absurdDepth_isRefused() {
    assertThatThrownBy(() -> TestBackends.read("s.yaml", "a: " + "[".repeat(5000)))
        .isInstanceOf(ScenarioException.class)
        .hasMessageMatching("s\\.yaml:?\\d*: no YAML: [^\\n]*");
    assertThatThrownBy(
            () -> TestBackends.read("s.yaml", "vms: " + "{a: ".repeat(300) + "1" + "}".repeat(300)))
        .isInstanceOf(ScenarioException.class)
        .hasMessageStartingWith("s.yaml:1: ");
  }

  @Test
  void filesThatAreNoText() throws Exception {
    Path file = dir.resolve("x.yaml");
    Files.write(file, new byte[] {(byte) 0xff, (byte) 0xfe, 1, 2, (byte) 0xc0});
    assertFile(file, ": not UTF-8 text");
    Files.writeString(file, "a\0b");
    assertFile(file, ":1: no YAML: special characters are not allowed");
    Files.writeString(file, "#".repeat((1 << 20) + 1));
    assertFile(file, ": longer than 1048576 bytes");
    assertFile(dir.resolve("none.yaml"), ": there is no such file");
    assertFile(dir, ": cannot be read: Is a directory");
  }

  private static void assertFile(Path file, String message) {
    assertThatThrownBy(() -> TestBackends.read(file))
        .isInstanceOf(ScenarioException.class)
        .hasMessage(file + message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{vcpu: 0, wirte: 4G+4K} | wirte: there is no such key, did you mean write?; accepted: ",
        "{vcpu: 0, prefault: 4G+4K} | prefault: there is no such key, did you mean pre-fault?;",
        "{vcpu: 0, Read: 4G+4K} | Read: there is no such key, did you mean read?; accepted: ",
        "{vcpu: 0, exec: 4G+4K} | exec: there is no such key, did you mean execute?; accepted: ",
        "{madvise: 4G+4K} | madvise: there is no such key, did you mean discard?; accepted: ",
        "{map_gpa: 4G+4K} | map_gpa: there is no such key, did you mean convert?; accepted: ",
        "{xyzzy: 4G+4K} | xyzzy: there is no such key; accepted: accept, add-slot, ",
      })
  void unknownKeys_getTheNearestOne(String step, String message) {
    assertThatThrownBy(() -> TestBackends.read("s.yaml", withStep(step)))
        .isInstanceOf(ScenarioException.class)
        .hasMessageStartingWith("s.yaml:5: phases[0].steps[0]." + message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "pattern: 0xaa | what is in guest memory; nearest: expect says which pages are mapped, and"
            + " get-dirty-log which were written",
        "expect-value: 3 | what is in guest memory; nearest: expect says which pages are mapped, and"
            + " get-dirty-log which were written",
        "set_regs: 3 | registers, MSRs, CPUID and interrupts of a vCPU; nearest: guests accept,"
            + " read, write, execute and convert",
        "MSRs: 3 | registers, MSRs, CPUID and interrupts of a vCPU; nearest: guests accept, read,"
            + " write, execute and convert",
        "sleep: 1 | time; nearest: inject with before says at which lock another thread's steps are"
            + " done",
        "random: 1 | random steps; nearest: repeat, and placement: seeded of the host",
        "ioctl: 1 | ioctls by number; nearest: set-attributes, add-slot, pre-fault",
        "mprotect: 1 | protection of the VMM's memory; nearest: a slot with read-only",
        "userfaultfd: 1 | userfaultfd; nearest: discard, after which a touch gets a new page",
        "munmap: 1 | unmapping the VMM's memory; nearest: discard, delete-slot",
        "nested: 1 | nested guests; nearest: a second VM",
        "numa: 1 | NUMA; nearest: placement of the host",
      })
  void whatIsNotModelled_isSaidSo_withTheNearest(String key, String message) {
    String name = key.substring(0, key.indexOf(':'));
    assertRefused(
        withStep("{vcpu: 0, write: 4G+4K, " + key + "}"),
        "5: phases[0].steps[0].%s: not modelled: %s".formatted(name, message));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "host: {memory: 99999999T} | host.memory: \"99999999T\" is not accepted; accepted: bytes,"
            + " such as 0x200000, 64K, 2M or 1G",
        "host: {memory: [1]} | host.memory: \"a list or mapping\" is not accepted; accepted: bytes,"
            + " such as 0x200000, 64K, 2M or 1G",
        "host: {memory: -4096} | host.memory: \"-4096\" is not accepted; accepted: bytes, such as"
            + " 0x200000, 64K, 2M or 1G",
        "host: {placement: here} | host.placement: \"here\" is not accepted; accepted: sequential,"
            + " scattered, seeded",
        "host: {seed: x} | host.seed: \"x\" is not accepted; accepted: a whole number",
        "host: {dynamic-pamt: 3} | host.dynamic-pamt: \"3\" is not accepted; accepted: true, false",
        "host: {dynamic-pamt: [3]} | host.dynamic-pamt: a true or false is expected here",
        "host: {seed: 1.5} | host.seed: \"1.5\" is not accepted; accepted: a whole number",
        "host: [] | host: a mapping is expected here, with keys of dynamic-pamt,"
            + " enhanced-demote-interruptibility, kernel, memory, non-blocking-resize, parameters,"
            + " placement, seed",
        "scenario: {a: b} | scenario: a text is expected here",
        "vms: [a] | vms: a mapping is expected here",
        "vms: {vm: {vcpus: .nan}} | vms.vm.vcpus: a whole number is expected here",
        "vms: {vm: {vcpus: 3000000000}} | vms.vm.vcpus: a whole number is expected here",
        "vms: {vm: {type: vmx}} | vms.vm.type: \"vmx\" is not accepted; accepted: tdx,"
            + " sw-protected, default",
        "phases: {a: b} | phases[0].a: there is no such key; accepted: concurrently, expect, name,"
            + " repeat, steps, sweep",
        "phases: [{repeat: [1, 2]}] | phases[0].repeat: a number is expected here",
        "phases: [{steps: [{split: 2M}]}] | phases[0].steps[0].split: \"2M\" is not accepted;"
            + " accepted: a range START..END or START+SIZE that is not empty, such as"
            + " 0x200000..0x400000 or 2M+64K",
        "phases: [{steps: [{split: 4M..2M}]}] | phases[0].steps[0].split: \"4M..2M\" is not"
            + " accepted; accepted: a range START..END or START+SIZE that is not empty, such as"
            + " 0x200000..0x400000 or 2M+64K",
        "phases: [{expect: [{private: {2M+2M: 3M}}]}] |"
            + " phases[0].expect[0].private.2M+2M: \"3M\" is not accepted; accepted: none, 4K, 2M"
            + " or 1G, the latter three with pending or accepted",
        "phases: [{expect: [{private: {2M: 4K}}]}] | phases[0].expect[0].private: \"2M\" is not"
            + " accepted; accepted: a range START..END or START+SIZE that is not empty, such as"
            + " 0x200000..0x400000 or 2M+64K",
        "phases: [{expect: [{stats: {pages_4k: 4..2}}]}] |"
            + " phases[0].expect[0].stats.pages_4k: \"4..2\" is not accepted; accepted: a number,"
            + " >=N, <=N or a range N..M",
        "phases: [{steps: [{returns: EWHAT}]}] | phases[0].steps[0].returns: \"EWHAT\" is not"
            + " accepted; accepted: OK, 1, an errno such as ENOMEM, memory-fault, map-gpa, mmio,"
            + " dirty-ring-full, guest-panic, endless-retry, any, a list of these, or a mapping from"
            + " backends to them",
        "phases: [{steps: [{returns: {tdx: {a: OK}}}]}] | phases[0].steps[0].returns: \"a list or"
            + " mapping\" is not accepted; accepted: OK, 1, an errno such as ENOMEM, memory-fault,"
            + " map-gpa, mmio, dirty-ring-full, guest-panic, endless-retry, any, a list of these, or"
            + " a mapping from backends to them",
      })
  void values_areWhatTheirKeysTake(String text, String message) {
    assertRefused(text, "1: " + message);
  }

  @Test
  void jsonIsRead_andOneValueForAList() throws Exception {
    ScenarioFile file =
        TestBackends.read(
            "s.json",
            """
            {"scenario": "x", "backends": "tdx-v3", "vms": {"vm": {"type": "default"}},
             "phases": {"steps": {"vcpu": 0, "write": "4G+4K", "returns": "mmio"}}}
            """);
    assertThat(file.backends()).containsExactly("tdx-v3");
    assertThat(file.scenario().phases()).hasSize(1);
  }

  @Test
  void lines_areThoseOfTheFile_alsoOfRangesThatAreWrittenInAnotherWay() throws Exception {
    ScenarioFile file =
        TestBackends.read(
            "s.yaml",
            """
            scenario: x
            vms:
              vm: {type: default}
            phases:
              - steps: []
                expect:
                  - shared:
                      2M+2M: none
                      4G+4K: none
            """);
    assertThat(file.lineOf("/vms/vm")).isEqualTo(3);
    assertThat(
            file.lineOf("/phases/0/expect/0/shared/" + new ByteRange(4L << 30, (4L << 30) + 4096)))
        .isEqualTo(9);
    assertThat(file.lineOf("/phases/0/expect/0/stats/pages_4k")).isEqualTo(7);
    assertThat(file.lineOf("/nowhere")).isEqualTo(1);
  }
}
