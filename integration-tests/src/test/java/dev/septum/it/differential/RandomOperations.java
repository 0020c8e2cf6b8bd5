package dev.septum.it.differential;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.vmm.BackendVm;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Random;
import java.util.function.Function;

/** Operations that a seed draws. */
final class RandomOperations {

  private static final int WEIGHTS = 100;

  private final Random random;

  /** What must come next: slots that were deleted are soon added again. */
  private final Deque<Operation> next = new ArrayDeque<>();

  RandomOperations(long seed) {
    random = new Random(seed);
  }

  Operation draw() {
    Operation due = random.nextInt(4) == 0 ? next.poll() : null;
    return due != null ? due : drawAny();
  }

  private Operation drawAny() {
    int weight = random.nextInt(WEIGHTS);
    if (weight < 22) {
      return fault();
    } else if (weight < 30) {
      return sharedFault();
    } else if (weight < 42) {
      return accept();
    } else if (weight < 48) {
      return honorLevel();
    } else if (weight < 56) {
      return splitCrossing();
    } else if (weight < 57) {
      return splitAll();
    } else if (weight < 67) {
      return convert(false);
    } else if (weight < 83) {
      return convert(true);
    } else if (weight < 87) {
      return setAttributes();
    } else if (weight < 93) {
      return punchHole();
    } else if (weight < 97) {
      return preFault();
    }
    return weight < 99 ? renewSlot() : deleteSlot();
  }

  private static Operation operation(String text, GfnRange range, Function<Side, String> effect) {
    long start = PageLevel.LEVEL_2M.alignDown(range.start());
    long end = PageLevel.LEVEL_2M.alignUp(range.end());
    return new Operation(text, new GfnRange(start, end), false, effect);
  }

  private static Operation atGfn(String what, long gfn, Function<Side, String> effect) {
    return operation("%s 0x%x".formatted(what, gfn), GfnRange.ofPages(gfn, 1), effect);
  }

  private static Operation atRange(String what, GfnRange range, Function<Side, String> effect) {
    return operation(what + " " + range, range, effect);
  }

  private Operation fault() {
    int vcpu = vcpu();
    long gfn = gfn();
    return atGfn(
        "vCPU %d touches private".formatted(vcpu),
        gfn,
        side -> side.fault(vcpu, gfn << 12, KvmMmu.privateWriteError()));
  }

  private Operation sharedFault() {
    int vcpu = vcpu();
    long gfn = gfn();
    boolean write = random.nextBoolean();
    return atGfn(
        "vCPU %d %s shared".formatted(vcpu, write ? "writes" : "reads"),
        gfn,
        side ->
            side.fault(vcpu, gfn << 12 | BackendVm.SHARED_BIT, KvmMmu.sharedError(write, false)));
  }

  private Operation accept() {
    int vcpu = vcpu();
    GfnRange range = range();
    PageLevel largest = largest();
    // Of the two only the TD knows what was accepted, so that its guest would get nothing done.
    return atRange(
            "vCPU %d accepts at %s".formatted(vcpu, largest),
            range,
            side -> side.accept(vcpu, range, largest))
        .ofUnaccepted();
  }

  private Operation honorLevel() {
    int vcpu = vcpu();
    long gfn = gfn();
    PageLevel level = largest();
    return atGfn(
        "KVM is told of vCPU %d's ACCEPT at %s of".formatted(vcpu, level),
        gfn,
        side -> side.honorLevel(vcpu, gfn, level));
  }

  private Operation splitCrossing() {
    GfnRange range = range();
    LockMode mode = lockMode();
    return atRange("splits around, " + mode, range, side -> side.splitCrossing(range, mode));
  }

  private Operation splitAll() {
    GfnRange range = range();
    LockMode mode = lockMode();
    return atRange("splits all, " + mode, range, side -> side.splitAll(range, mode));
  }

  private Operation convert(boolean toPrivate) {
    GfnRange range = range();
    return atRange(
        toPrivate ? "converts to private" : "converts to shared",
        range,
        side -> side.convert(range, toPrivate));
  }

  private Operation setAttributes() {
    GfnRange range = range();
    boolean isPrivate = random.nextBoolean();
    return atRange(
        isPrivate ? "sets private" : "sets shared",
        range,
        side -> side.setAttributes(range, isPrivate));
  }

  private Operation punchHole() {
    int slot = slot();
    GfnRange range = GfnRange.ofPages(gfnIn(Side.SLOTS.get(slot)), pages());
    return atRange("punches a hole", range, side -> side.punchHole(slot, range));
  }

  private Operation preFault() {
    int vcpu = vcpu();
    GfnRange range = range();
    return atRange("vCPU %d pre-faults".formatted(vcpu), range, side -> side.preFault(vcpu, range));
  }

  /** Makes a slot as it was in the beginning; tables of 4K entries stay where there are some. */
  private Operation renewSlot() {
    int slot = slot();
    GfnRange range = Side.SLOTS.get(slot);
    return atRange("renews slot " + slot, range, side -> side.renewSlot(slot));
  }

  /** Deletes a slot and adds it again a little later; what its guest inhibited is forgotten. */
  private Operation deleteSlot() {
    int slot = slot();
    GfnRange range = Side.SLOTS.get(slot);
    next.add(atRange("adds slot " + slot, range, side -> side.addSlot(slot)));
    return atRange("deletes slot " + slot, range, side -> side.deleteSlot(slot));
  }

  private int vcpu() {
    return random.nextInt(Side.VCPUS);
  }

  private int slot() {
    return random.nextInt(Side.FIRMWARE);
  }

  private LockMode lockMode() {
    return random.nextBoolean() ? LockMode.SHARED : LockMode.EXCLUSIVE;
  }

  private PageLevel largest() {
    return random.nextInt(3) == 0 ? PageLevel.LEVEL_4K : PageLevel.LEVEL_2M;
  }

  private long gfnIn(GfnRange range) {
    return range.start() + random.nextInt((int) range.pages());
  }

  /** Anywhere, or near the end of a 2M range, or in memory. */
  private long gfn() {
    return switch (random.nextInt(3)) {
      case 0 -> gfnIn(Side.ALL);
      case 1 -> {
        long near = 512L * random.nextInt((int) (Side.ALL.pages() / 512)) + random.nextInt(5) - 2;
        yield Math.max(near, 0);
      }
      default -> gfnIn(Side.SLOTS.get(slot()));
    };
  }

  private long pages() {
    return switch (random.nextInt(4)) {
      case 0 -> 1;
      case 1 -> 1 + random.nextInt(40);
      case 2 -> 512;
      default -> 1 + random.nextInt(600);
    };
  }

  /** A range of any alignment; often a whole 2M range, or a whole slot. */
  private GfnRange range() {
    return switch (random.nextInt(12)) {
      case 0, 1 -> GfnRange.ofPages(PageLevel.LEVEL_2M.alignDown(gfnIn(Side.ALL)), 512);
      case 2 -> Side.SLOTS.get(slot());
      default -> {
        long start = gfn();
        yield new GfnRange(start, Math.min(start + pages(), Side.ALL.end()));
      }
    };
  }
}
