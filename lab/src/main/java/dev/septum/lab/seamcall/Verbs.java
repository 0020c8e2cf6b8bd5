package dev.septum.lab.seamcall;

import com.google.common.collect.ImmutableMap;
import dev.septum.tdx.module.AccessKind;
import dev.septum.tdx.module.PageType;
import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.SeptState;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/** The commands of the language: each turns the words behind it into an action. */
final class Verbs {

  private interface Parser {
    Action parse(Arguments arguments) throws ScriptException;
  }

  private record Verb(String synopsis, String help, Parser parser) {}

  private static final ImmutableMap<String, Verb> VERBS =
      ImmutableMap.<String, Verb>builder()
          .put("set", verb("NAME VALUE", "sets a variable", Verbs::set))
          .put(
              "page",
              verb(
                  "NAME [bare|large]",
                  "takes a 4K page with PAMT, one without, or a 2M page",
                  Verbs::page))
          .put(
              "td",
              verb(
                  "NAME [building]",
                  "builds a TD with a vCPU, NAME.vcpu; 'building': not finalized",
                  Verbs::td))
          .put(
              "tables",
              verb("GPA SIZE", "adds the S-EPT tables above an entry of that size", Verbs::tables))
          .put(
              "map",
              verb(
                  "GPA SIZE [NAME]", "adds tables and a fresh page, whose HPA is NAME", Verbs::map))
          .put("accept", verb("GPA SIZE", "the guest accepts a page", Verbs::accept))
          .put("read", verb("GPA", "the guest reads", a -> access(a, AccessKind.READ)))
          .put("write", verb("GPA", "the guest writes", a -> access(a, AccessKind.WRITE)))
          .put(
              "walk",
              verb("GPA", "shows the S-EPT on the way, and the PAMT of the page", Verbs::walk))
          .put("pamt", verb("HPA", "shows the PAMT of a page", Verbs::pamt))
          .put(
              "regs",
              verb("", "shows all registers of the last call", a -> Exploration::showRegisters))
          .put("fail", verb("LEAF STATUS", "makes the next call of a leaf fail", Verbs::fail))
          .put(
              "expect",
              verb(
                  "WHAT VALUE",
                  "status, guest, a register; sept GPA SIZE STATE; pamt HPA TYPE",
                  Verbs::expect))
          .put(
              "check",
              verb("", "checks the module's invariants", a -> Exploration::checkInvariants))
          .put("help", verb("[leafs]", "shows this, or the leafs", Verbs::help))
          .put("quit", verb("", "ends", a -> exploration -> {}))
          .buildOrThrow();

  private Verbs() {}

  private static Verb verb(String synopsis, String help, Parser parser) {
    return new Verb(synopsis, help, parser);
  }

  /** The action of a line. */
  static Action parse(ScriptLine line, Scope scope) throws ScriptException {
    Arguments arguments = new Arguments(line, scope);
    String first = arguments.word("a command");
    Verb verb = VERBS.get(first);
    Action action = verb == null ? seamcall(first, arguments) : verb.parser.parse(arguments);
    arguments.end();
    return action;
  }

  /** {@code LEAF [version=N] [REGISTER=VALUE]...}; the leaf by name or number. */
  private static Action seamcall(String word, Arguments arguments) throws ScriptException {
    Optional<Long> number = Symbols.leaf(word).map(l -> (long) l.number());
    Optional<Long> leaf = number.or(() -> Expression.number(word));
    if (leaf.isEmpty()) {
      throw arguments.line().error(word, "is no command and no leaf", acceptedInsteadOf(word));
    }
    List<Map.Entry<Register, Expression>> operands = new ArrayList<>();
    Optional<Expression> version = Optional.empty();
    while (arguments.hasNext()) {
      String operand = arguments.word("REGISTER=VALUE");
      int equals = operand.indexOf('=');
      if (equals < 0) {
        throw arguments.line().error(operand, "is no operand", "REGISTER=VALUE, version=N");
      }
      String name = operand.substring(0, equals);
      Expression value = arguments.expression(operand.substring(equals + 1));
      if (name.equals("version")) {
        version = Optional.of(value);
      } else {
        operands.add(Map.entry(arguments.register(name), value));
      }
    }
    Optional<Expression> versionOrNone = version;
    return exploration -> {
      SeamRegs regs = new SeamRegs();
      regs.rax = leaf.get();
      versionOrNone.ifPresent(v -> regs.rax |= v.evaluate(exploration::value) << 16);
      operands.forEach(o -> o.getKey().set(regs, o.getValue().evaluate(exploration::value)));
      exploration.call(regs);
    };
  }

  private static String acceptedInsteadOf(String word) {
    return word.contains(".") || word.contains("_")
        ? Symbols.leafsLike(word)
        : String.join(", ", VERBS.keySet()) + ", or a leaf (help leafs)";
  }

  private static Action set(Arguments arguments) throws ScriptException {
    String name = arguments.newName();
    Expression value = arguments.expression();
    return exploration -> exploration.set(name, value.evaluate(exploration::value));
  }

  private static Action page(Arguments arguments) throws ScriptException {
    String name = arguments.newName();
    if (arguments.skip("bare")) {
      return exploration -> exploration.set(name, exploration.machine().pages().bare());
    }
    if (arguments.skip("large")) {
      return exploration -> exploration.set(name, exploration.machine().pages().large());
    }
    return exploration -> exploration.set(name, exploration.machine().pages().backed());
  }

  private static Action td(Arguments arguments) throws ScriptException {
    String name = arguments.newName();
    arguments.alsoNames(name + ".vcpu");
    TdStage stage = arguments.skip("building") ? TdStage.INITIALIZED : TdStage.RUNNABLE;
    return exploration -> exploration.buildTd(name, stage);
  }

  private static Action tables(Arguments arguments) throws ScriptException {
    Expression gpa = arguments.expression();
    int level = arguments.level();
    return exploration -> exploration.addTables(gpa.evaluate(exploration::value), level);
  }

  private static Action map(Arguments arguments) throws ScriptException {
    Expression gpa = arguments.expression();
    int level = arguments.level();
    Optional<String> name =
        arguments.hasNext() ? Optional.of(arguments.newName()) : Optional.empty();
    return exploration -> exploration.map(gpa.evaluate(exploration::value), level, name);
  }

  private static Action accept(Arguments arguments) throws ScriptException {
    Expression gpa = arguments.expression();
    int level = arguments.level();
    return exploration -> exploration.accept(gpa.evaluate(exploration::value), level);
  }

  private static Action access(Arguments arguments, AccessKind kind) throws ScriptException {
    Expression gpa = arguments.expression();
    return exploration -> exploration.access(gpa.evaluate(exploration::value), kind);
  }

  private static Action walk(Arguments arguments) throws ScriptException {
    Expression gpa = arguments.expression();
    return exploration -> exploration.walk(gpa.evaluate(exploration::value));
  }

  private static Action pamt(Arguments arguments) throws ScriptException {
    Expression hpa = arguments.expression();
    return exploration -> exploration.pamt(hpa.evaluate(exploration::value));
  }

  private static Action fail(Arguments arguments) throws ScriptException {
    String word = arguments.word("a leaf");
    SeamcallLeaf leaf =
        Symbols.leaf(word)
            .orElseThrow(() -> arguments.line().error(word, "is no leaf", Symbols.leafsLike(word)));
    ExpectedStatus status =
        ExpectedStatus.parse(arguments.word(ExpectedStatus.ACCEPTED), arguments.line());
    return exploration ->
        exploration.machine().module().injector().failNext(leaf, 1, status.status());
  }

  private static Action expect(Arguments arguments) throws ScriptException {
    String accepted = "status, guest, sept, pamt or a register";
    String what = arguments.word(accepted);
    switch (what) {
      case "status", "guest" -> {
        ExpectedStatus status =
            ExpectedStatus.parse(arguments.word(ExpectedStatus.ACCEPTED), arguments.line());
        return what.equals("status")
            ? exploration -> exploration.expectStatus(status)
            : exploration -> exploration.expectGuest(status);
      }
      case "sept" -> {
        Expression gpa = arguments.expression();
        int level = arguments.level();
        String state = name(arguments, "S-EPT state", SeptState.values());
        return exploration ->
            exploration.expectSept(gpa.evaluate(exploration::value), level, state);
      }
      case "pamt" -> {
        Expression hpa = arguments.expression();
        String type = name(arguments, "page type", PageType.values());
        return exploration -> exploration.expectPamt(hpa.evaluate(exploration::value), type);
      }
      default -> {
        Register register = arguments.register(what);
        Expression value = arguments.expression();
        return exploration ->
            exploration.expectRegister(register, value.evaluate(exploration::value));
      }
    }
  }

  private static String name(Arguments arguments, String what, Enum<?>[] values)
      throws ScriptException {
    String accepted = Arrays.stream(values).map(Enum::name).collect(Collectors.joining(", "));
    String word = arguments.word(accepted);
    if (Arrays.stream(values).noneMatch(value -> value.name().equals(word))) {
      throw arguments.line().error(word, "is no " + what, accepted);
    }
    return word;
  }

  private static Action help(Arguments arguments) {
    if (arguments.skip("leafs")) {
      return exploration ->
          Arrays.stream(SeamcallLeaf.values())
              .forEach(leaf -> exploration.print("%3d %s", leaf.number(), Symbols.nameOf(leaf)));
    }
    return exploration -> {
      exploration.print(
          "%-24s %s", "LEAF [REGISTER=VALUE]...", "makes a SEAMCALL, by name or number");
      VERBS.forEach(
          (name, verb) ->
              exploration.print("%-24s %s", (name + " " + verb.synopsis).strip(), verb.help));
    };
  }
}
