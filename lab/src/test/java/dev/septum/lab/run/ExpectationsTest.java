package dev.septum.lab.run;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Each kind of expectation is shown to fail, with what it says then. */
class ExpectationsTest {

  /** A TD that accepted 2M at 2M; what is expected is on line 14. */
  private static String td(String expectation) {
    return """
        scenario: x
        host: {memory: 512M}
        files:
          ram: {size: 8M}
        vms:
          td:
            slots:
              - {slot: 1, gpa: 0, size: 8M, file: ram}
        phases:
          - steps:
              - vcpu: 0
                accept: 2M+2M
            expect:
              - {%s}
        """
        .formatted(expectation);
  }

  /** An ordinary VM that wrote a huge page and a small one; the step after that is on line 15. */
  private static String ordinary(String step) {
    return """
        scenario: x
        host: {memory: 512M}
        vms:
          vm:
            type: default
            slots:
              - {slot: 1, gpa: 4G, size: 4M, backing: 2M}
              - {slot: 2, gpa: 8G, size: 1M, flags: log-dirty-pages}
        phases:
          - steps:
              - vcpu: 0
                write: [4G+4K, 8G+4K]
          - name: y
            steps:
              - %s
        """
        .formatted(step);
  }

  private static void assertFound(String text, String... findings) throws Exception {
    RunReport report = Examples.run(text);
    assertThat(Examples.findings(report)).containsExactly(findings);
    assertThat(report.held()).isEqualTo(findings.length == 0);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "private: {2M+2M: 4K} | 0x200000..0x400000 is mapped by a 2M leaf at 0x200000, expected was"
            + " 4K",
        "private: {2M+4K: 2M} | 0x200000..0x201000 is mapped by a 2M leaf at 0x200000, expected was"
            + " 2M",
        "private: {2M+2M: none} | 0x200000..0x400000 is mapped by a 2M leaf at 0x200000, expected"
            + " was none",
        "private: {4M+2M: 2M} | 0x400000 is not mapped, expected was 2M",
        "private: {2M+2M: 2M pending} | 0x200000 is MAPPED, expected was 2M pending",
        "shared: {2M+2M: 4K} | 0x200000 is not mapped, expected was 4K",
        "nothing-else: true | private memory at 0x200000 is mapped by a 2M leaf, expected was"
            + " nothing else",
        "attributes: {2M+2M: shared} | 0x200000 is not shared",
        "mixed: {2M+2M: true} | the 2M page at 0x200000 is not mixed",
        "inhibited: {2M+2M: true} | the 2M page at 0x200000 is not inhibited",
        "stats: {pages_2m: 3} | pages_2m is 1, expected was 3",
        "stats: {pairs: 0} | pairs is 1, expected was 0",
        "growth: {accept_ept_violations: \">=5\"} | accept_ept_violations is 1, expected was >=5",
        "seamcalls: {TDH_MEM_PAGE_AUG: 2..3} | TDH_MEM_PAGE_AUG was called 1 time(s), expected was"
            + " 2..3",
        "pages: {user_memory: <=-1} | user_memory is 0, expected was <=-1",
        "allocated: {ram: 1} | ram is 512, expected was 1",
        "bugged: true | the VM is not bugged",
        "violations: the moon | expected was a violation that says \"the moon\"",
        "leaks: pamt_cache | in the end pamt_cache has no page, expected was a leak",
      })
  void expectation_thatDoesNotHold_isFound(String expectation, String finding) throws Exception {
    RunReport report = Examples.run(td(expectation));
    assertThat(report.allFindings())
        .singleElement()
        .satisfies(found -> assertThat(found.text()).isEqualTo(finding));
    assertThat(report.held()).isFalse();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "private: {2M+2M: 2M accepted}, nothing-else: true",
        "attributes: {0..8M: private}, mixed: {0..8M: false}, inhibited: {0..8M: false}",
        "stats: {pages_2m: 1}, seamcalls: {TDH_MEM_PAGE_AUG: 1}, allocated: {ram: 512}",
        "backends: tdx-v3, private: {2M+2M: none}",
      })
  void expectation_thatHolds_orIsForAnotherBackend_isNot(String expectation) throws Exception {
    assertFound(td(expectation));
  }

  @Test
  void findings_nameTheLineOfTheKey() throws Exception {
    assertFound(
        """
        scenario: x
        host: {memory: 512M}
        vms:
          vm: {type: default}
        phases:
          - steps: []
            expect:
              - shared:
                  4G+4K: none
                  2M+2M: 4K
                stats:
                  pages_4k: 3
                  pages_2m: 0
        """,
        "10: 0x200000 is not mapped, expected was 4K",
        "12: pages_4k is 0, expected was 3");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{delete-slot: 3} | 15: EINVAL, expected was OK (slot 3)",
        "{delete-slot: 1, returns: EINVAL} | 15: OK, expected was EINVAL",
        "{vcpu: 0, read: 6G+4K} | 15: mmio, expected was OK (at 0x180000000)",
        "{vcpu: 0, read: 6G+4K, returns: [OK, EFAULT]} | 15: mmio, expected was OK or EFAULT (at"
            + " 0x180000000)",
        "{get-dirty-log: 2, dirty: []} | 15: dirty is 0x200000000..0x200001000, expected was"
            + " nothing",
        "{get-dirty-log: 2, dirty: 8G+8K} | 15: dirty is 0x200000000..0x200001000, expected was"
            + " 0x200000000..0x200002000",
        "{vcpu: 0, pre-fault: 8G+4K, left: 4K} | 15: 0 are left, expected was 4K",
        "{vcpu: 0, read: 8G+4K, exit-range: 8G+4K} | 15: KVM names no memory, expected was"
            + " 0x200000000..0x200001000",
        "{vcpu: 0, read: 8G+4K, exit-kind: private} | 15: KVM wants nothing, expected was private"
            + " memory",
        "{expect: {shared: {4G+2M: 4K}}} | 15: 0x100000000..0x100200000 is mapped by a 2M leaf at"
            + " 0x100000000, expected was 4K",
        "{expect: {nothing-else: true}} | 15: shared memory at 0x100000000 is mapped by a 2M leaf,"
            + " expected was nothing else",
        "{expect: {private: {4G+2M: 2M}}} | 15: 0x100000000 is not mapped, expected was 2M",
        "{add-slot: [{slot: 3, gpa: 0, size: 4K}, {slot: 4, gpa: 4G, size: 4K}]} | 15: EEXIST,"
            + " expected was OK (slot 4)",
      })
  void step_thatComesToSomethingElse_isFound(String step, String finding) throws Exception {
    assertFound(ordinary(step), finding);
  }

  /** The negative tests of the selftests. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{add-slot: {slot: 3, gpa: 1, size: 4K}, returns: EINVAL}",
        "{add-slot: {slot: 3, gpa: 0, size: 5}, returns: EINVAL}",
        "{add-slot: {slot: 40000, gpa: 0, size: 4K}, returns: EINVAL}",
        "{add-slot: {slot: 3, gpa: 4G, size: 4K}, returns: EEXIST}",
        "{add-slot: {slot: 3, gpa: 4G, size: 4K, address-space: 1}}",
        "{add-slot: {slot: 3, gpa: 16G, size: 1G, backing: 1G}, returns: ENOMEM}",
        "{move-slot: 2, gpa: 8G, returns: OK}",
        "{move-slot: 2, gpa: 0x1001, returns: EINVAL}",
        "{move-slot: 2, gpa: 4G, returns: EEXIST}",
        "{move-slot: 7, gpa: 0, returns: EINVAL}",
        "{set-flags: 7, flags: [], returns: EINVAL}",
        "{set-attributes: 4G+4K, to: private, returns: EINVAL}",
        "{get-dirty-log: 1, returns: ENOENT}",
        "{collect-dirty-rings: true, returns: EINVAL}",
        "{vcpu: 0, pre-fault: 4G+1, returns: EINVAL}",
        "{vcpu: 0, pre-fault: 6G+4K, left: 4K, returns: ENOENT}",
        "{vcpu: 0, write: 8G+4K, smm: true, returns: mmio}",
        "{set-parameters: {nx_huge_pages: maybe}, returns: EINVAL}",
        "{vcpu: 0, write: 8G+1M, repeat: 3, returns: OK}",
        "{repeat: 2, steps: [{delete-slot: [1, 2]}, {add-slot: [{slot: 1, gpa: 4G, size: 4M,"
            + " backing: 2M}, {slot: 2, gpa: 8G, size: 1M}]}]}",
      })
  void whatKvmRefuses_canBeExpected(String step) throws Exception {
    assertFound(ordinary(step));
  }

  @Test
  void secondAddressSpace_hasSlotsOfItsOwn() throws Exception {
    assertFound(
        ordinary(
            """
            {add-slot: {slot: 1, address-space: 1, gpa: 12G, size: 1M}}
              - {vcpu: 0, write: 12G+4K, smm: true}
              - {vcpu: 0, write: 12G+4K, returns: mmio}
              - {delete-slot: 1, address-space: 1}
              - {vcpu: 0, write: 12G+4K, smm: true, returns: mmio}
              - {vcpu: 0, write: 4G+4K}\
            """
                .replace("\n  - ", "\n      - ")));
  }

  @Test
  void slotsWithOneHva_haveTheSamePages() throws Exception {
    assertFound(
        """
        scenario: x
        host: {memory: 512M}
        vms:
          vm:
            type: default
            slots:
              - {slot: 1, gpa: 4G, size: 1M}
              - {slot: 2, gpa: 8G, size: 1M, hva: 4G}
        phases:
          - steps:
              - {vcpu: 0, write: [4G+1M, 8G+1M]}
            expect:
              - shared: {4G+1M: 4K, 8G+1M: 4K}
                nothing-else: true
                pages: {user_memory: 256}
          - steps:
              - discard: 4G+1M
            expect:
              - shared: {4G+1M: none, 8G+1M: none}
                pages: {user_memory: 0}
        """);
  }

  /** What a defect breaks must be named, all of it, and from then on. */
  @Test
  void whatIsBroken_isFoundUnlessItIsNamed() throws Exception {
    String text =
        """
        scenario: x
        backends: tdx-v3
        host: {memory: 512M}
        files:
          ram: {size: 8M}
        vms:
          td:
            slots:
              - {slot: 1, gpa: 0, size: 8M, file: ram}
        phases:
          - steps:
              - vcpu: 0
                accept: 2M+2M
              - inject: {allocation: pamt_cache}
              - set-attributes: 0x210000..0x212000
                to: shared
        """;
    assertFound(text, "11: VM 1: the mirror leaf at gfn 0x200 maps shared frames");
    assertFound(text + "    expect: {violations: maps shared frames}\n");
  }

  @Test
  void bugAndLeaks_areFoundUnlessTheyAreNamed() throws Exception {
    String text =
        """
        scenario: x
        backends: tdx-v3
        host: {memory: 512M}
        files:
          ram: {size: 8M}
        vms:
          td:
            slots:
              - {slot: 1, gpa: 0, size: 8M, file: ram}
        phases:
          - steps:
              - vcpu: 0
                accept: 2M+2M
              - inject: {seamcall: TDH_MEM_PAGE_DEMOTE, status: TDX_OPERAND_INVALID}
              - set-attributes: 0x210000..0x212000
                to: shared
            expect:
        """;
    List<String> found = Examples.findings(Examples.run(text + "      - bugged: false\n"));
    assertThat(found)
        .anySatisfy(f -> assertThat(f).startsWith("18: the VM is bugged: "))
        .anySatisfy(f -> assertThat(f).startsWith("11: VM 1 is bugged: "))
        .anySatisfy(f -> assertThat(f).isEqualTo("6: in the end td_control still has 1 page(s)"));
    assertFound(
        text
            + """
                  - bugged: true
                    violations: [the S-EPT lacks, the mirror lacks, is BLOCKED, has]
                    leaks: [external_page_table, pamt_page, td_control]
            """);
  }

  @Test
  void growth_isThatOfThePhase_andStatsThatOfAll() throws Exception {
    assertFound(
        """
        scenario: x
        host: {memory: 512M}
        vms:
          vm:
            type: default
            slots:
              - {slot: 1, gpa: 4G, size: 1M}
        phases:
          - steps:
              - {vcpu: 0, write: 4G+8K}
            expect: {stats: {pages_4k: 2}, growth: {pages_4k: 2}}
          - steps:
              - {vcpu: 0, write: 4G+12K}
            expect: {stats: {pages_4k: 3}, growth: {pages_4k: 1}}
        """);
  }

  /** A thread that stands still before a lock lets others do what its own locks allow. */
  @Test
  void stepsBeforeALock_waitForTheLocksThatAreHeld() throws Exception {
    RunReport report =
        Examples.run(
            """
            scenario: x
            host: {memory: 512M}
            files:
              ram: {size: 8M}
            vms:
              td:
                slots:
                  - {slot: 1, gpa: 0, size: 8M, file: ram}
            phases:
              - steps:
                  - vcpu: 0
                    accept: 2M+2M
                  - inject:
                      before: mmu_lock
                      steps:
                        - set-attributes: 0x300000..0x302000
                          to: shared
                  - set-attributes: 0x210000..0x212000
                    to: shared
                expect:
                  - attributes: {0x210000..0x212000: shared, 0x300000..0x302000: shared}
                    private: {0x210000..0x212000: none, 0x300000..0x302000: none}
                    growth: {mirror_splits: 1}
            """);
    assertThat(Examples.findings(report)).isEmpty();
  }
}
