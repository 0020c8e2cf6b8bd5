package dev.septum.lab.scenario;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.lab.TestBackends;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A file that can be read, but makes no sense, is refused with one line. */
class ScenarioCheckTest {

  private static void assertRefused(String text, String message) {
    assertThatThrownBy(() -> TestBackends.read("s.yaml", text))
        .isInstanceOf(ScenarioException.class)
        .hasMessage("s.yaml:" + message);
  }

  /** On line 2 the VM is said to be so. */
  private static String withVm(String vm) {
    return "scenario: x\nvms: {vm: {%s}}\nfiles: {f: {size: 4M}}\nphases: [{steps: []}]\n"
        .formatted(vm);
  }

  /** Two TDs and an ordinary VM; on line 7 one does something. */
  private static String withStep(String step) {
    return """
        scenario: x
        files: {f: {size: 4M}}
        vms:
          td: {vcpus: 2}
          vm: {type: default}
        phases:
          - steps: [%s]
        """
        .formatted(step);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "vcpus: 0 | vms.vm.vcpus: 0 is not accepted; accepted: 1 to 64",
        "vcpus: -1 | vms.vm.vcpus: -1 is not accepted; accepted: 1 to 64",
        "vcpus: 65 | vms.vm.vcpus: 65 is not accepted; accepted: 1 to 64",
        "levels: 6 | vms.vm.levels: 6 is not accepted; accepted: 4, 5",
        "format: npt | vms.vm.format: a TD has ept",
        "dirty-ring: 64K | vms.vm: a TD has no dirty log",
        "zap-slot-only: true | vms.vm.zap-slot-only: a TD always zaps one slot only",
        "map-gpa-piece: 0 | vms.vm.map-gpa-piece: a piece needs at least one page",
        "map-gpa-piece: 5 | vms.vm.map-gpa-piece: 0x5 is not accepted; accepted: a multiple of 4K up"
            + " to 4096T",
        "type: default, sept-ve-disable: false | vms.vm: sept-ve-disable and map-gpa-piece are for"
            + " TDs",
        "type: default, slots: {slot: 0, gpa: 0, size: 4K} | vms.vm.slots[0].slot: 0 is not"
            + " accepted; accepted: 1 to 32763 (slot 0 holds the guest's code)",
        "type: default, slots: {slot: 1, gpa: 0, size: 0} | vms.vm.slots[0].size: a slot needs at"
            + " least one page",
        "type: default, slots: {slot: 1, gpa: 1, size: 4K} | vms.vm.slots[0].gpa: 0x1 is not"
            + " accepted; accepted: a multiple of 4K up to 4096T",
        "type: default, slots: {slot: 1, gpa: 3G, size: 2G} | vms.vm.slots[0]: slot 1 overlaps the"
            + " guest's code at 0xffff0000..0x100000000",
        "type: default, slots: [{slot: 1, gpa: 0, size: 8K}, {slot: 2, gpa: 4K, size: 8K}] |"
            + " vms.vm.slots[1]: slot 2 overlaps slot 1",
        "type: default, slots: [{slot: 1, gpa: 0, size: 8K}, {slot: 1, gpa: 4M, size: 8K}] |"
            + " vms.vm.slots[1].slot: there is a slot 1 already",
        "slots: {slot: 1, gpa: 0, size: 4M, file: g} | vms.vm.slots[0].file: there is no file \"g\";"
            + " accepted: f",
        "slots: {slot: 1, gpa: 0, size: 4M, file: f, offset: 2M} | vms.vm.slots[0]: slot 1 ends at"
            + " 6M of file f, which has 4M",
        "slots: {slot: 1, gpa: 0, size: 4M, file: f, flags: log-dirty-pages} |"
            + " vms.vm.slots[0].flags: a slot with a file takes no flags",
        "slots: {slot: 1, gpa: 0, size: 4M, backing: 2M} | vms.vm.slots[0].backing: the shared"
            + " memory of a TD is in pages of 4K",
        "slots: {slot: 1, gpa: 0, size: 4M, address-space: 1} | vms.vm.slots[0].address-space: only"
            + " VMs of type default have a second address space",
        "type: default, slots: {slot: 1, gpa: 0, size: 4M, address-space: 2} |"
            + " vms.vm.slots[0].address-space: 2 is not accepted; accepted: 0 to 1",
        "type: default, slots: {slot: 1, gpa: 0, size: 4M, file: f} | vms.vm.slots[0].file: VMs of"
            + " type default have no private memory",
        "type: default, slots: {slot: 1, gpa: 4K, size: 4M, backing: 2M} | vms.vm.slots[0].backing:"
            + " a slot with pages of 2M begins and ends at a multiple of it",
        "type: default, slots: {slot: 1, gpa: 0, size: 4M, backing: 2M, hva: 0} |"
            + " vms.vm.slots[0].hva: hva is for memory of single pages",
      })
  void vms(String vm, String message) {
    assertRefused(withVm(vm), "2: " + message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "host: {memory: 3M} | host.memory: 3M is not accepted; accepted: a multiple of 2M up to 4T",
        "host: {memory: 0} | host.memory: 0 is not accepted; accepted: a multiple of 2M up to 4T",
        "host: {memory: 8T} | host.memory: 8T is not accepted; accepted: a multiple of 2M up to 4T",
        "backends: [] | backends: at least one backend is needed",
        "backends: [tdx, sev] | backends: there is no backend \"sev\"; accepted: none, reference, tdx, tdx-v3",
        "files: {f: {size: 0}} | files.f.size: a file needs at least one page",
        "files: {f: {size: 5}} | files.f.size: 0x5 is not accepted; accepted: a multiple of 4K up to"
            + " 4096T",
        "files: {f: {size: 2M, folios: 1G}} | files.f.folios: 1G is not accepted; accepted: 4K, 2M",
        "'files: {\"a b\": {size: 2M}}' | files.a b: \"a b\" is no name; accepted: letters, digits,"
            + " - and _",
      })
  void hostAndFiles(String line, String message) {
    String key = line.startsWith("'") ? line.substring(1, line.length() - 1) : line;
    assertRefused(
        "scenario: x\n" + key + "\nvms: {vm: {}}\nphases: [{steps: []}]\n", "2: " + message);
  }

  @Test
  void somethingMustHappen_toSomebody() {
    assertRefused(
        "scenario: x\nvms: {}\nphases: [{steps: []}]\n", "2: vms: at least one VM is needed");
    assertRefused(
        "scenario: x\nvms: {vm: {}}\nphases: []\n", "3: phases: at least one phase is needed");
    assertRefused(
        "scenario: x\nvms: {vm: {}}\nphases:\n  - name: y\n",
        "4: phases[0]: a phase has either steps or concurrently, and not both");
    assertRefused(
        "scenario: x\nvms: {vm: {}}\nphases:\n  - steps: []\n    repeat: 0\n",
        "5: phases[0].repeat: 0 is not accepted; accepted: 1 to 1000000");
    assertRefused(
        "scenario: x\nvms: {vm: {}}\nphases:\n  - concurrently: {}\n",
        "4: phases[0].concurrently: at least one actor is needed");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{vcpu: td/0} | : the step does nothing; it needs one of: accept, read, write, execute,"
            + " convert, pre-fault, set-attributes, add-slot, delete-slot, move-slot, set-flags,"
            + " get-dirty-log, clear-dirty-log, collect-dirty-rings, split, topup-split-cache,"
            + " discard, age, destroy, punch-hole, allocate, convert-file, set-parameters,"
            + " recover-nx-huge-pages, inject, stop-injecting, expect, steps",
        "{vcpu: td/0, read: 0+4K, write: 0+4K} | : the step does several things (read, write): make"
            + " each a step of its own",
        "{read: 0+4K} | : read needs a vcpu",
        "{vcpu: 0, read: 0+4K} | .vcpu: \"0\" is no vCPU; accepted: VM/NUMBER with a VM of td, vm",
        "{vcpu: td/2, read: 0+4K} | .vcpu: VM td has no vCPU 2; it has 0 to 1",
        "{vcpu: td/0, discard: 0+4K} | .vcpu: discard is nothing that a vCPU does",
        "{vcpu: td/0, vm: td, read: 0+4K} | .vm: a step with vcpu takes no vm",
        "{discard: 0+4K} | : vm is needed here; accepted: td, vm",
        "{vm: tf, discard: 0+4K} | .vm: there is no vm \"tf\"; accepted: td, vm",
        "{vm: td, file: f, discard: 0+4K} | .file: discard takes no file",
        "{vcpu: vm/0, accept: 0+4K} | .accept: accept is not for VMs of type default",
        "{vm: td, get-dirty-log: 1} | .get-dirty-log: get-dirty-log is not for VMs of type tdx",
        "{vm: td, split: 0+4K, to: shared} | .to: to says nothing about split; accepted beside it:"
            + " lock",
        "{vm: td, convert: 0+4K} | : convert needs to",
        "{vm: vm, move-slot: 1} | : move-slot needs gpa",
        "{vm: td, destroy: false} | .destroy: false is not accepted; accepted: true, or no such"
            + " step",
        "{vcpu: td/0, accept: 0+5} | .accept: 0x0..0x5 is not accepted; accepted: from one multiple"
            + " of 4K to another, up to 4096T",
        "{vcpu: td/0, read: 0..9000T} | .read: 0x0..0x23280000000000 is not accepted; accepted: from"
            + " one multiple of 4K to another, up to 4096T",
        "{vcpu: td/0, accept: 0+4K, at: 1G} | .at: 1G is not accepted; accepted: 4K, 2M",
        "{vcpu: td/0, read: 0+4K, every: 0} | .every: 0 is not accepted",
        "{vcpu: td/0, read: 0+4K, repeat: 0} | .repeat: 0 is not accepted; accepted: 1 to 1000000",
        "{vcpu: td/0, read: 0+4K, smm: true} | .smm: only VMs of type default have a second address"
            + " space",
        "{vcpu: vm/0, read: 0+4K, as: shared} | .as: only the guest of a TD chooses; elsewhere"
            + " memory is what its attributes say",
        "{vm: vm, delete-slot: 1, address-space: 3} | .address-space: 3 is not accepted; accepted: 0"
            + " to 1",
        "{vm: vm, add-slot: {slot: 0, gpa: 0, size: 4K}} | .add-slot[0].slot: 0 is not accepted;"
            + " accepted: 1 to 65535",
        "{vcpu: td/0, read: 0+4K, returns: {sev: OK}} | .returns: there is no backend \"sev\";"
            + " accepted: none, reference, tdx, tdx-v3",
        "{inject: {next: 2}} | .inject: an injection has one of allocation, seamcall, before",
        "{inject: {allocation: pages}} | .inject.allocation: there is no allocation \"pages\";"
            + " accepted: ",
        "{inject: {allocation: pamt_cache, status: TDX_OPERAND_BUSY}} | .inject.status: only a"
            + " seamcall has a status",
        "{inject: {seamcall: TDH_MEM_TRACK, status: BUSY}} | .inject.status: \"BUSY\" is no status"
            + " of the module; accepted: names such as TDX_OPERAND_BUSY",
        "{inject: {allocation: pamt_cache, interrupted: true}} | .inject.interrupted: only a"
            + " seamcall without a status is interrupted",
        "{inject: {before: mmu_lock}} | .inject: before has steps, and nothing else has",
        "{inject: {before: mmu_lock, steps: [{vm: td}]}} | .inject.steps[0]: the step does nothing;"
            + " it needs one of: ",
        "{inject: {allocation: pamt_cache, next: 0}} | .inject.next: 0 is not accepted; accepted: 1"
            + " to 1000000",
        "{inject: {allocation: pamt_cache, times: 0}} | .inject.times: 0 is not accepted; accepted:"
            + " 1 to 1000000",
        "{steps: [{vm: td}]} | .steps[0]: the step does nothing; it needs one of: ",
        "{expect: {private: {0+4K: 4K}}} | .expect: vm is needed here; accepted: td, vm",
        "{expect: {vm: vm, shared: {0+4K: 4K pending}}} | .expect.shared.0x0..0x1000: \"4K"
            + " pending\": pending and accepted are states of a TD's private memory",
        "{expect: {vm: td, shared: {0+5: 4K}}} | .expect.shared: 0x0..0x5 is not accepted; accepted:"
            + " from one multiple of 4K to another, up to 4096T",
        "{expect: {vm: vm, stats: {split_cache: 0}}} | .expect.stats.split_cache: there is no"
            + " counter \"split_cache\"; accepted: ",
        "{expect: {pages: {mine: 0}}} | .expect.pages.mine: there is no owner \"mine\"; accepted: ",
        "{expect: {allocated: {g: 0}}} | .expect.allocated.g: there is no file \"g\"; accepted: f",
        "{expect: {leaks: mine}} | .expect.leaks: there is no owner \"mine\"; accepted: ",
        "{expect: {backends: sev}} | .expect.backends: there is no backend \"sev\"; accepted:"
            + " none, reference, tdx, tdx-v3",
      })
  void steps(String step, String message) {
    // Lists of names are long; they are cut off here.
    String whole = "s.yaml:7: phases[0].steps[0]" + message;
    assertThatThrownBy(() -> TestBackends.read("s.yaml", withStep(step)))
        .isInstanceOf(ScenarioException.class)
        .satisfies(
            e -> {
              if (message.endsWith(":")) {
                assertThat(e).hasMessageStartingWith(whole + " ");
              } else {
                assertThat(e).hasMessage(whole);
              }
              assertThat(e.getMessage()).doesNotContain("\n");
            });
  }

  @Test
  void fileIsAskedFor_whereThereIsNone() {
    assertRefused(
        "scenario: x\nvms: {vm: {}}\nphases:\n  - steps:\n      - punch-hole: 0+4K\n",
        "5: phases[0].steps[0]: the scenario has no file");
  }

  @Test
  void actors_mayNotLookNorDestroy() {
    assertRefused(
        """
        scenario: x
        vms: {vm: {type: default}}
        phases:
          - concurrently:
              one:
                - steps:
                    - expect: {bugged: false}
        """,
        "7: phases[0].concurrently.one[0].steps[0]: expect is not for actors: others may be at work;"
            + " put it into a phase of its own");
    assertRefused(
        """
        scenario: x
        vms: {vm: {type: default}}
        phases:
          - concurrently:
              one:
                - destroy: true
        """,
        "6: phases[0].concurrently.one[0]: destroy is not for actors: others may be at work; put it"
            + " into a phase of its own");
  }
}
