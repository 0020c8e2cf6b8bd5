package dev.septum.lab.scenario;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import com.google.errorprone.annotations.Immutable;
import dev.septum.kvm.VmType;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/** What a step can do: who does it, and which keys say how. */
public enum Verb {
  ACCEPT(Subject.TD_VCPU, Step::accept, "at", "touch-first", "exit-range", "exit-kind"),
  READ(Subject.VCPU, Step::read, "every", "as", "smm", "exit-range", "exit-kind"),
  WRITE(Subject.VCPU, Step::write, "every", "as", "smm", "exit-range", "exit-kind"),
  EXECUTE(Subject.VCPU, Step::execute, "every", "as", "smm", "exit-range", "exit-kind"),
  CONVERT(Subject.TD_VCPU_OR_VM, Step::convert, "to", "exit-range", "exit-kind"),
  PRE_FAULT(Subject.VCPU, Step::preFault, "left"),
  SET_ATTRIBUTES(Subject.VM, Step::setAttributes, "to"),
  ADD_SLOT(Subject.VM, Step::addSlot),
  DELETE_SLOT(Subject.VM, Step::deleteSlot, "address-space"),
  MOVE_SLOT(Subject.VM, Step::moveSlot, "gpa", "address-space"),
  SET_FLAGS(Subject.VM, Step::setFlags, "flags", "address-space"),
  GET_DIRTY_LOG(Subject.ORDINARY_VM, Step::getDirtyLog, "dirty", "address-space"),
  CLEAR_DIRTY_LOG(Subject.ORDINARY_VM, Step::clearDirtyLog, "within", "address-space"),
  COLLECT_DIRTY_RINGS(Subject.ORDINARY_VM, Step::collectDirtyRings, "dirty"),
  SPLIT(Subject.TD, Step::split, "lock"),
  TOPUP_SPLIT_CACHE(Subject.TD, Step::topupSplitCache),
  DISCARD(Subject.VM, Step::discard),
  AGE(Subject.VM, Step::age),
  DESTROY(Subject.VM, Step::destroy),
  PUNCH_HOLE(Subject.FILE, Step::punchHole),
  ALLOCATE(Subject.FILE, Step::allocate),
  CONVERT_FILE(Subject.FILE, Step::convertFile, "to"),
  SET_PARAMETERS(Subject.NOBODY, Step::setParameters),
  RECOVER_NX_HUGE_PAGES(Subject.NOBODY, Step::recoverNxHugePages),
  INJECT(Subject.NOBODY, Step::inject),
  STOP_INJECTING(Subject.NOBODY, Step::stopInjecting),
  EXPECT(Subject.NOBODY, Step::expect),
  STEPS(Subject.NOBODY, Step::steps);

  /** One of a step's values; null where the step has none. */
  @Immutable
  interface Part {
    @Nullable Object of(Step step);
  }

  /** Whose deed it is. */
  public enum Group {
    /** A vCPU's, or its VMM's in the guest's place. */
    GUEST,
    /** A VMM's. */
    VMM,
    /** User space's, with a file. */
    FILE,
    /** The host's. */
    HOST
  }

  /** Who does it. */
  enum Subject {
    /** A vCPU: {@code vcpu}. */
    VCPU,
    /** A vCPU of a TD: {@code vcpu}. */
    TD_VCPU,
    /** A vCPU of a TD, or the VMM of any VM with private memory: {@code vcpu} or {@code vm}. */
    TD_VCPU_OR_VM,
    /** The VMM of a VM: {@code vm}. */
    VM,
    /** The VMM of a TD: {@code vm}. */
    TD,
    /** The VMM of a VM that is no TD: {@code vm}. */
    ORDINARY_VM,
    /** User space, with a file: {@code file}. */
    FILE,
    /** The host. */
    NOBODY;

    /** Who it is, for the reference. */
    String text() {
      return switch (this) {
        case VCPU -> "`vcpu`";
        case TD_VCPU -> "`vcpu` of a TD";
        case TD_VCPU_OR_VM -> "`vcpu` of a TD, or `vm`";
        case VM -> "`vm`";
        case TD -> "`vm`, a TD";
        case ORDINARY_VM -> "`vm`, no TD";
        case FILE -> "`file`";
        case NOBODY -> "";
      };
    }

    boolean takesVcpu() {
      return this == VCPU || this == TD_VCPU || this == TD_VCPU_OR_VM;
    }

    boolean takesVm() {
      return this == VM || this == TD || this == ORDINARY_VM || this == TD_VCPU_OR_VM;
    }

    /** Whether a VM of that type can do it; {@code asGuest} if one of its vCPUs does. */
    boolean suits(VmType type, boolean asGuest) {
      return switch (this) {
        case TD_VCPU, TD -> type == VmType.TDX;
        case TD_VCPU_OR_VM -> asGuest ? type == VmType.TDX : type.hasPrivateMemory();
        case ORDINARY_VM -> type != VmType.TDX;
        default -> true;
      };
    }
  }

  /** Every verb, in the order of the documentation. */
  static final ImmutableList<Verb> ALL = ImmutableList.copyOf(values());

  /** The keys that say how, or what comes of it; a verb has some of them. */
  static final ImmutableMap<String, Part> MODIFIERS =
      ImmutableMap.<String, Part>builder()
          .put("at", Step::at)
          .put("touch-first", Step::touchFirst)
          .put("every", Step::every)
          .put("as", Step::as)
          .put("to", Step::to)
          .put("lock", Step::lock)
          .put("gpa", Step::gpa)
          .put("flags", Step::flags)
          .put("within", Step::within)
          .put("smm", Step::smm)
          .put("address-space", Step::addressSpace)
          .put("dirty", Step::dirty)
          .put("left", Step::left)
          .put("exit-range", Step::exitRange)
          .put("exit-kind", Step::exitKind)
          .buildOrThrow();

  /** Modifiers that a verb cannot do without. */
  private static final ImmutableSet<String> NEEDED = ImmutableSet.of("to", "gpa", "flags");

  private final Subject subject;
  private final Part value;
  private final ImmutableSet<String> modifiers;

  Verb(Subject subject, Part value, String... modifiers) {
    this.subject = subject;
    this.value = value;
    this.modifiers = ImmutableSet.copyOf(modifiers);
  }

  Subject subject() {
    return subject;
  }

  /** Whose deed it is. */
  public Group group() {
    return switch (subject) {
      case VCPU, TD_VCPU, TD_VCPU_OR_VM -> Group.GUEST;
      case VM, TD, ORDINARY_VM -> Group.VMM;
      case FILE -> Group.FILE;
      case NOBODY -> Group.HOST;
    };
  }

  /** The verb's value in a step, or null if the step does something else. */
  public @Nullable Object of(Step step) {
    return value.of(step);
  }

  ImmutableSet<String> modifiers() {
    return modifiers;
  }

  static boolean isNeeded(String modifier) {
    return NEEDED.contains(modifier);
  }

  /** How a step goes about it: its modifiers by their keys. */
  public static ImmutableMap<String, Object> modifiersOf(Step step) {
    ImmutableMap.Builder<String, Object> given = ImmutableMap.builder();
    MODIFIERS.forEach(
        (key, modifier) -> {
          Object how = modifier.of(step);
          if (how != null) {
            given.put(key, how);
          }
        });
    return given.buildOrThrow();
  }

  /** The key in files. */
  public String key() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
