package dev.septum.lab.fuzz;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.KvmBackend;
import dev.septum.lab.backend.Machine;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/**
 * A scenario drawn from a seed: a TD of 8 MiB in two slots whose memory is accepted, converted,
 * punched and split, while allocations and SEAMCALLs fail. Whatever a step comes to is fine; the
 * invariants must hold after each.
 */
record RandomScenario(long seed, ImmutableList<String> backends, ImmutableList<Act> acts) {

  /**
   * A step in a phase of its own, as YAML.
   *
   * @param injection what goes wrong meanwhile, or null
   */
  record Act(@Nullable String injection, String step) {
    @Override
    public String toString() {
      return injection == null
          ? "[{%s, returns: any}]".formatted(step)
          : "[{inject: {%s}}, {%s, returns: any}, {stop-injecting: true}]"
              .formatted(injection, step);
    }
  }

  private static final String SET_UP =
      """
      scenario: Random steps from seed %d
      backends: [%s]
      host: {memory: 2G, placement: scattered}
      files: {ram: {size: 8M}}
      vms:
        td:
          vcpus: 2
          slots:
            - {slot: 1, gpa: 0, size: 4M, file: ram}
            - {slot: 2, gpa: 4M, size: 4M, file: ram, offset: 4M}
      phases:
      """;

  private static final ImmutableList<String> OF_TDS = ImmutableList.of("tdx", "tdx-v3");

  private static final int FRAMES = 2048;
  private static final ImmutableList<String> ALLOCATIONS =
      ImmutableList.of(
          "pamt_cache",
          "mmu_page_table",
          "external_page_table",
          "kvm_mmu_page_header",
          "guest_memory",
          "user_memory");

  /** SEAMCALLs that KVM must be able to live without. */
  private static final ImmutableList<String> FALLIBLE =
      ImmutableList.of("TDH_MEM_PAGE_DEMOTE", "TDH_PHYMEM_PAMT_ADD");

  /** SEAMCALLs that may be busy once. */
  private static final ImmutableList<String> BUSY_ONCE =
      ImmutableList.of(
          "TDH_MEM_RANGE_BLOCK",
          "TDH_MEM_TRACK",
          "TDH_MEM_PAGE_REMOVE",
          "TDH_MEM_PAGE_AUG",
          "TDH_MEM_SEPT_ADD");

  private static final ImmutableList<String> STATUSES =
      ImmutableList.of("TDX_OPERAND_BUSY", "TDX_OPERAND_INVALID", "TDX_INTERRUPTED_RESTARTABLE");

  /** Draws so many phases for a backend; without a TDX module only allocations fail. */
  static RandomScenario of(long seed, int count, KvmBackend backend) {
    boolean hasModule = Machine.designOf(backend) != null;
    Random random = new Random(seed);
    ImmutableList.Builder<Act> acts = ImmutableList.builder();
    for (int i = 0; i < count; i++) {
      String step = step(random);
      acts.add(new Act(random.nextInt(3) == 0 ? injection(random, hasModule) : null, step));
    }
    return new RandomScenario(
        seed, hasModule ? OF_TDS : ImmutableList.of(backend.name()), acts.build());
  }

  private static String step(Random random) {
    return switch (random.nextInt(9)) {
      case 0, 1 -> "vcpu: %d, accept: %s".formatted(random.nextInt(2), range(random));
      case 2 -> "vcpu: %d, write: %s".formatted(random.nextInt(2), range(random));
      case 3, 4 -> "set-attributes: %s, to: %s".formatted(range(random), kind(random));
      case 5 -> "convert: %s, to: %s".formatted(range(random), kind(random));
      case 6 -> "punch-hole: %s".formatted(range(random));
      case 7 -> "split: %s".formatted(range(random));
      default -> "topup-split-cache: true";
    };
  }

  private static String kind(Random random) {
    return random.nextBoolean() ? "shared" : "private";
  }

  /** A few frames, or up to a whole 2M page more or less, often at the edge of one. */
  private static String range(Random random) {
    int start = random.nextInt(FRAMES);
    if (random.nextBoolean()) {
      start = start & -512;
    }
    int frames =
        switch (random.nextInt(3)) {
          case 0 -> 1 + random.nextInt(4);
          case 1 -> 512;
          default -> 1 + random.nextInt(700);
        };
    int end = Math.min(FRAMES, start + frames);
    return "0x%x..0x%x".formatted((long) start << 12, (long) end << 12);
  }

  private static String injection(Random random, boolean hasModule) {
    int next = 1 + random.nextInt(3);
    return switch (hasModule ? random.nextInt(3) : 0) {
      case 0 -> "allocation: %s, next: %d".formatted(from(ALLOCATIONS, random), next);
      case 1 ->
          "seamcall: %s, status: %s, times: %d"
              .formatted(from(FALLIBLE, random), from(STATUSES, random), 1 + random.nextInt(2));
      default -> "seamcall: %s, next: %d".formatted(from(BUSY_ONCE, random), next);
    };
  }

  private static String from(List<String> words, Random random) {
    return words.get(random.nextInt(words.size()));
  }

  /** The same scenarios with a little less: without one act, or without what goes wrong in it. */
  ImmutableList<RandomScenario> simpler() {
    ImmutableList.Builder<RandomScenario> all = ImmutableList.builder();
    for (int i = acts.size() - 1; i >= 0; i--) {
      List<Act> fewer = new ArrayList<>(acts);
      Act act = fewer.remove(i);
      all.add(new RandomScenario(seed, backends, ImmutableList.copyOf(fewer)));
      if (act.injection() != null) {
        fewer.add(i, new Act(null, act.step()));
        all.add(new RandomScenario(seed, backends, ImmutableList.copyOf(fewer)));
      }
    }
    return all.build();
  }

  /** The scenario as a file. */
  String text() {
    StringBuilder text = new StringBuilder(SET_UP.formatted(seed, String.join(", ", backends)));
    acts.forEach(act -> text.append("  - steps: ").append(act).append('\n'));
    return text.toString();
  }
}
